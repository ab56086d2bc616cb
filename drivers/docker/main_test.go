package docker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/drivers/docker"
	"github.com/agentflow-go/sandbox/internal/dockerd"
)

// host is the socket of the tests' own engine; "" if none can run here, and then
// why says so.
var host, why string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (status int) {
	d, err := dockerd.Start(context.Background())
	if err != nil && !errors.Is(err, dockerd.ErrNoEngine) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err != nil {
		why = err.Error()
		defer fmt.Fprintf(os.Stderr, "SKIPPED all tests that need a Docker engine: %s\n", why)
		return m.Run()
	}
	defer func() {
		if err := d.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}()
	host = d.Host
	return m.Run()
}

// engine returns a driver of the tests' engine.
func engine(t testing.TB, c docker.Config) sandbox.Driver {
	t.Helper()
	if host == "" {
		t.Skipf("SKIPPED: %s", why)
	}
	c.Host = host
	return docker.Driver(c)
}

// options are those of a sandbox at level docker.
func options(t testing.TB, c docker.Config) sandbox.Options {
	t.Helper()
	return sandbox.Options{
		Drivers: map[string]sandbox.Driver{"docker": engine(t, c)},
		Confine: sandbox.Confinement{Level: "docker"},
	}
}
