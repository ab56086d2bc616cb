package code

import "context"

// ResetInput is what code:reset takes.
type ResetInput struct {
	Language string `json:"language,omitzero" jsonschema:"default: all"`
}

// ResetOutput is what code:reset returns.
type ResetOutput struct {
	Reset []string `json:"reset" jsonschema:"languages whose interpreters were ended"`
}

// Reset ends interpreters, also under running code, which is told. The next call
// gets a fresh one.
func (s *Session) Reset(_ context.Context, in ResetInput) (ResetOutput, error) {
	interps, err := s.some(in.Language)
	if err != nil {
		return ResetOutput{}, err
	}
	out := ResetOutput{Reset: []string{}}
	for _, it := range interps {
		if it.reset() {
			out.Reset = append(out.Reset, it.language)
		}
	}
	return out, nil
}

// InterruptInput is what code:interrupt takes.
type InterruptInput struct {
	Language string `json:"language,omitzero" jsonschema:"default: all"`
}

// InterruptOutput is what code:interrupt returns.
type InterruptOutput struct {
	Interrupted []string `json:"interrupted" jsonschema:"languages whose running code was interrupted"`
}

// Interrupt interrupts what runs, as a person would with ctrl-C. Its call then
// ends with an error as data, unless the code goes on.
func (s *Session) Interrupt(_ context.Context, in InterruptInput) (InterruptOutput, error) {
	interps, err := s.some(in.Language)
	if err != nil {
		return InterruptOutput{}, err
	}
	out := InterruptOutput{Interrupted: []string{}}
	for _, it := range interps {
		if it.interrupt() {
			out.Interrupted = append(out.Interrupted, it.language)
		}
	}
	return out, nil
}

// some returns the interpreter of a language, for "" all of them.
func (s *Session) some(language string) ([]*interp, error) {
	if language == "" {
		return s.interps, nil
	}
	it, err := s.interp(language)
	return []*interp{it}, err
}

// LanguagesInput is what code:languages takes.
type LanguagesInput struct{}

// LanguagesOutput is what code:languages returns.
type LanguagesOutput struct {
	Languages []Language `json:"languages" jsonschema:"the first one is the default"`
}

// Language is one that a session can run.
type Language struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases" jsonschema:"other names for it"`
	Interpreter string   `json:"interpreter" jsonschema:"the program, or the Jupyter kernel"`
	Version     string   `json:"version,omitzero" jsonschema:"once it has run"`
	Running     bool     `json:"running"`
}

// Languages lists what the session can run.
func (s *Session) Languages(context.Context, LanguagesInput) (LanguagesOutput, error) {
	out := LanguagesOutput{Languages: make([]Language, len(s.interps))}
	for i, it := range s.interps {
		l := Language{Name: it.language, Aliases: append([]string{}, aliases(it.language)...), Interpreter: s.set.interpreter(it.language)}
		if kernel := s.set.Kernels[it.language]; kernel != "" {
			l.Interpreter = "jupyter " + kernel
		}
		l.Running, l.Version = it.status()
		out.Languages[i] = l
	}
	return out, nil
}
