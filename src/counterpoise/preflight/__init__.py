"""What comes before the first trial, in one pass: inputs -> design -> checks -> cost -> prepared run."""
