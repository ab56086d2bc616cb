//go:build !linux

package docker

import "github.com/agentflow-go/sandbox/internal/jail"

type engine struct{ name string }

func newEngine(name string, _ Config) jail.Driver { return engine{name} }

// Name implements [jail.Driver].
func (e engine) Name() string { return e.name }
