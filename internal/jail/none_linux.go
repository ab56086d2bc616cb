package jail

import (
	"context"
	"fmt"
	"os"
)

// noneDriver confines nothing.
type noneDriver struct{ site *Site }

var _ Driver = (*noneDriver)(nil)

func (d *noneDriver) Name() string { return levelNone }

func (d *noneDriver) Traits() Traits {
	return Traits{Unconfined: true, NoProxy: "level none leaves programs the whole network of the host"}
}

func (d *noneDriver) Open(_ context.Context, s *Site) error {
	d.site = s
	s.Log.Warn("confinement is off: programs started for workers run as this user and reach whatever it reaches", "level", levelNone)
	return nil
}

func (d *noneDriver) Close() error { return nil }

// Launch starts the first process: this program again, as a child like any
// other. It ends when the socket does, after killing what it started; it is not
// made to die with this program, for then it could not.
func (d *noneDriver) Launch(_ context.Context, s *Spec) (_ *First, err error) {
	streams, err := openStreams()
	if err != nil {
		return nil, err
	}
	defer streams.closeTheirs(&err)
	p, finish, err := d.site.start(s, exePath, []string{exePath, marker}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: streams.files(d.site.Program),
	})
	if err != nil {
		return nil, err
	}
	if finish != nil { // it starts nothing before the handshake
		if err := finish(); err != nil {
			(&childBoss{p}).Abandon()
			return nil, err
		}
	}
	return streams.first(p, func(complaint string, cause error) error {
		return fmt.Errorf("jail: first process: %w %s", cause, complaint)
	}), nil
}
