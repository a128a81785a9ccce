package hostfile

import (
	"context"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// validate runs the validate command on the finished temporary file. It is
// split into words as a shell would, and no shell runs it.
func (w *Want) validate(m modules.Machine) func(context.Context, string) error {
	return func(ctx context.Context, temporary string) error {
		argv, err := Words(w.Keep.Validate)
		if err != nil {
			return fmt.Errorf("validate = %q: %w", w.Keep.Validate, err)
		}
		for i := range argv {
			argv[i] = strings.ReplaceAll(argv[i], "%s", temporary)
		}
		answer, err := m.Run(ctx, modules.Cmd{Argv: argv})
		if err != nil {
			return fmt.Errorf("validate: %w", err)
		}
		if answer.ExitCode == 0 {
			return nil
		}
		said := strings.TrimSpace(string(answer.Stderr) + "\n" + string(answer.Stdout))
		said = strings.ReplaceAll(said, temporary, w.final)
		return fmt.Errorf("%q refused the new file (exit code %d): %s; the old one is untouched", w.Keep.Validate, answer.ExitCode, said)
	}
}

// Words splits a command line at blanks, honouring quotes and backslashes.
func Words(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	open, in := rune(0), false
	escaped := false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && open != '\'':
			escaped, in = true, true
		case open != 0 && r == open:
			open = 0
		case open == 0 && (r == '\'' || r == '"'):
			open, in = r, true
		case open == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if open != 0 || escaped {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("there is no command")
	}
	return words, nil
}
