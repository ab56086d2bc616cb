package code

import (
	"context"
	"time"
)

const (
	maxVariables = 500
	maxPreview   = 200 // characters
	previewLimit = 5 * time.Second
)

// VariablesInput is what code:variables takes.
type VariablesInput struct {
	Language string `json:"language,omitzero" jsonschema:"default python"`
}

// VariablesOutput is what code:variables returns.
type VariablesOutput struct {
	Language  string     `json:"language"`
	Variables []Variable `json:"variables"`
	Left      int        `json:"left,omitzero" jsonschema:"how many more there are"`
}

// Variable is a name that code has defined.
type Variable struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Preview string `json:"preview" jsonschema:"the beginning of its value"`
}

// Variables lists what code has defined in an interpreter. One that does not run
// has nothing.
func (s *Session) Variables(ctx context.Context, in VariablesInput) (VariablesOutput, error) {
	it, err := s.interp(in.Language)
	if err != nil {
		return VariablesOutput{}, err
	}
	release, err := it.take(ctx)
	if err != nil {
		return VariablesOutput{}, err
	}
	defer release()
	vars, left, err := it.variables(ctx)
	if vars == nil {
		vars = []Variable{}
	}
	return VariablesOutput{Language: it.language, Variables: vars, Left: left}, err
}
