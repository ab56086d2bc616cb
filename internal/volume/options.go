package volume

// Options says what a new volume is for.
type Options struct {
	UID, GID int // owner of its directory; -1: the program's own
	// Keep says that the volume is to outlive the program and the machine's
	// running: it gets a journal.
	Keep bool
}

// Closing says what becomes of what is in a volume.
type Closing int

const (
	// Sync writes everything to the image.
	Sync Closing = iota
	// Discard loses what is not written yet: the image is to be removed. Nothing
	// may use the volume any more.
	Discard
)
