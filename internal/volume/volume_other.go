//go:build !linux

package volume

import (
	"context"
	"fmt"
	"os"
)

// Volume is never made here.
type Volume struct{}

// Create fails: there are no volumes here.
func Create(context.Context, string, int64, Options) error { return unsupported() }

// Open fails: there are no volumes here.
func Open(string) (*Volume, error) { return nil, unsupported() }

// Probe fails: there are no volumes here.
func Probe(context.Context, string, int64) error { return unsupported() }

// Path returns nothing.
func (*Volume) Path() string { return "" }

// Resize fails: there are no volumes here.
func Resize(context.Context, string, int64) error { return unsupported() }

// Mount fails: there are no volumes here.
func (*Volume) Mount() (*os.File, error) { return nil, unsupported() }

// Close does nothing.
func (*Volume) Close(Closing) error { return nil }

func unsupported() error { return fmt.Errorf("%w: they need Linux", ErrUnsupported) }
