package values

import (
	"context"
	"fmt"
	"math"
)

func (v *Values) increment(ctx context.Context, a *arguments) ([]any, error) { return v.add(ctx, a, 1) }

func (v *Values) decrement(ctx context.Context, a *arguments) ([]any, error) {
	return v.add(ctx, a, -1)
}

// add returns the new number. A key that does not exist counts as 0.
func (v *Values) add(ctx context.Context, a *arguments, sign int64) ([]any, error) {
	key, by := a.name(0, "key"), a.number(1, "amount", int64(1))
	if a.err != nil {
		return nil, a.err
	}
	sum, err := v.change(ctx, a, key, func(old any) (any, any, error) {
		if old == nil {
			old = int64(0)
		}
		sum, err := plus(old, by, sign)
		if err != nil {
			return nil, nil, fmt.Errorf("%q is %s, not a number", short(key), aKind(old))
		}
		return sum, sum, nil
	})
	return []any{sum}, err
}

// plus stays with whole numbers as long as Lua's can hold them.
func plus(old, by any, sign int64) (any, error) {
	x, whole := old.(int64)
	y, wholeToo := by.(int64)
	if whole && wholeToo {
		// Both are within 2^53, so this does not overflow.
		return wholeOr(float64(x+sign*y), x+sign*y), nil
	}
	f, ok := float(old)
	if !ok {
		return nil, errAsItIs
	}
	g, _ := float(by)
	sum, err := normal(f+float64(sign)*g, "the sum", 0)
	if n, is := sum.(float64); is && math.IsInf(n, 0) {
		return nil, errAsItIs
	}
	return sum, err
}

func float(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// append puts text behind text, or a value behind a list, and returns the new
// length in bytes or items.
func (v *Values) append(ctx context.Context, a *arguments) ([]any, error) {
	key, more := a.name(0, "key"), a.value(1)
	if a.err != nil {
		return nil, a.err
	}
	n, err := v.change(ctx, a, key, func(old any) (any, any, error) {
		if list, ok := old.([]any); ok {
			return append(list, more), int64(len(list) + 1), nil
		}
		text, ok := old.(string)
		if old != nil && !ok {
			return nil, nil, fmt.Errorf("%q is %s, neither text nor a list", short(key), aKind(old))
		}
		tail, ok := scalar(more)
		if !ok {
			return nil, nil, fmt.Errorf("%s cannot be appended to text; use list_push", aKind(more))
		}
		return text + tail, int64(len(text) + len(tail)), nil
	})
	return []any{n}, err
}

func scalar(v any) (string, bool) {
	switch t := v.(type) {
	case string:
		return t, true
	case int64:
		return fmt.Sprint(t), true
	case float64:
		return fmt.Sprintf("%.14g", t), true
	}
	return "", false
}

func list(key string, v any) ([]any, error) {
	if v == nil {
		return nil, nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%q is %s, not a list", short(key), aKind(v))
	}
	return l, nil
}

// push returns the new length.
func (v *Values) push(ctx context.Context, a *arguments) ([]any, error) {
	key, item := a.name(0, "key"), a.value(1)
	if a.err == nil && item == nil {
		a.fail(fmt.Errorf("nil cannot be pushed on a list"))
	}
	if a.err != nil {
		return nil, a.err
	}
	n, err := v.change(ctx, a, key, func(old any) (any, any, error) {
		l, err := list(key, old)
		return append(l, item), int64(len(l) + 1), err
	})
	return []any{n}, err
}

// pop takes the last item away and returns it; nil where there is none.
func (v *Values) pop(ctx context.Context, a *arguments) ([]any, error) {
	key := a.name(0, "key")
	if a.err != nil {
		return nil, a.err
	}
	item, err := v.change(ctx, a, key, func(old any) (any, any, error) {
		l, err := list(key, old)
		switch {
		case err != nil:
			return nil, nil, err
		case len(l) == 0:
			return nil, nil, errAsItIs
		}
		return l[:len(l)-1], l[len(l)-1], nil
	})
	return []any{item}, err
}

func (v *Values) length(ctx context.Context, a *arguments) ([]any, error) {
	key := a.name(0, "key")
	if a.err != nil {
		return nil, a.err
	}
	value, _, err := v.load(ctx, key)
	if err != nil {
		return nil, err
	}
	l, err := list(key, value)
	return []any{int64(len(l))}, err
}
