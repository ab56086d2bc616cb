package browser_test

import (
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func TestAWrongSettingIsNamedAsInTheFile(t *testing.T) {
	t.Parallel()
	err := browser.Component().Register(new(sandbox.Registry), sandbox.Section{Name: "browser", Raw: []byte(`{"viewport":{"width":"wide"}}`)})
	if err == nil || !strings.HasPrefix(err.Error(), "config: /viewport/width: expected integer") {
		t.Errorf("Register = %v, want the setting's place in the file", err)
	}
}
