package uuid_test

import (
	"regexp"
	"testing"

	"github.com/agentflow-go/sandbox/internal/uuid"
)

func TestNewIsAVersion4UUID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := uuid.New()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("New() = %q, want a new UUID of version 4", id)
		}
		seen[id] = true
	}
}
