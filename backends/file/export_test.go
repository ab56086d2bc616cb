package file

// Apply lets a fuzz target make edits without files.
var Apply = apply
