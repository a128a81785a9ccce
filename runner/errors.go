package runner

import "github.com/hashicorp/go-multierror"

// joinErrors shows all problems at once, not one a try.
func joinErrors(problems []error) error {
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return problems[0]
	}
	return &multierror.Error{Errors: problems}
}
