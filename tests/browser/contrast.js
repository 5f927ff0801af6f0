// Return every text whose contrast with what lies behind it is below `least`, by WCAG 2.2's formula (1.4.3).
(least) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  // Any CSS colour as [red, green, blue] in 0..255 and opacity in 0..1.
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below, opacity = 1) => {
    const a = top[3] * opacity;
    return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a)).concat(1);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };

  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };

  const found = { checked: 0, faint: [] };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const style = getComputedStyle(element);
    const inDrawing = element instanceof SVGElement;
    // A text with a seam of its own stands before that, whatever picture lies behind.
    const seam = inDrawing && style.stroke !== "none" && parseFloat(style.strokeWidth) >= 2;
    const ground = seam ? parse(style.stroke) : behind(element);
    let opacity = inDrawing ? parseFloat(style.fillOpacity) : 1;
    for (let e = element; e; e = e.parentElement) opacity *= parseFloat(getComputedStyle(e).opacity);
    const ratio = contrast(over(parse(inDrawing ? style.fill : style.color), ground, opacity), ground);
    found.checked += 1;
    if (ratio < least) {
      const where = `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}`;
      found.faint.push(`${ratio.toFixed(2)}: ${where}: ${node.data.trim().slice(0, 40)}`);
    }
  }
  found.faint = [...new Set(found.faint)];
  return found;
}
