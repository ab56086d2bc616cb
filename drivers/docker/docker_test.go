package docker_test

import (
	"context"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/drivers/docker"
)

func TestProbe(t *testing.T) {
	o := options(t, docker.Config{})
	o.Registry = new(sandbox.Registry)
	sb, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	if err := sb.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
}
