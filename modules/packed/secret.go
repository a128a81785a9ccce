package packed

import "github.com/sloth-runner/sloth/modules"

// carried is the only key of the map that a secret travels as.
const carried = "\x00secret"

// Carry returns v with every modules.Secret in it in the form that travels:
// Unmarshal makes secrets of it again. Without Carry they arrive as
// modules.Hidden, which is right for all that people see. v is plain data and
// is not changed.
func Carry(v any) any {
	if !HasSecret(v) {
		return v
	}
	switch t := v.(type) {
	case modules.Secret:
		return map[string]any{carried: t.Reveal()}
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = Carry(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[k] = Carry(item)
		}
		return out
	case map[any]any:
		out := make(map[any]any, len(t))
		for k, item := range t {
			out[k] = Carry(item)
		}
		return out
	}
	return v
}

// CarryMap is Carry for variables.
func CarryMap(vars map[string]any) map[string]any {
	out, _ := Carry(vars).(map[string]any)
	return out
}

// HasSecret reports whether there is a secret in v.
func HasSecret(v any) bool {
	switch t := v.(type) {
	case modules.Secret:
		return true
	case []any:
		for _, item := range t {
			if HasSecret(item) {
				return true
			}
		}
	case map[string]any:
		for _, item := range t {
			if HasSecret(item) {
				return true
			}
		}
	case map[any]any:
		for _, item := range t {
			if HasSecret(item) {
				return true
			}
		}
	}
	return false
}

// secretOf gives the secret that m stands for, if it does.
func secretOf(m map[string]any) (modules.Secret, bool) {
	if len(m) != 1 {
		return modules.Secret{}, false
	}
	text, ok := m[carried].(string)
	return modules.NewSecret(text), ok
}
