package service

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
)

// asserting is a controller that makes assertions.
type asserting struct {
	echo
	got *modules.Assertion
}

func (s asserting) Assert(_ context.Context, a modules.Assertion) error {
	*s.got = a
	return errors.New("expected this, found that (on " + a.Host + ")")
}

func TestAssertionsCrossTheWire(t *testing.T) {
	want := modules.Assertion{
		Host: "web-02", Function: "infra_test.file_size", NoLog: true,
		Args: map[string]any{"path": "/etc/motd", "size": int64(7)},
	}
	body, err := packed.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got modules.Assertion
	_, err = Dispatch(t.Context(), asserting{got: &got}, "assert", body)
	if err == nil || err.Error() != "expected this, found that (on web-02)" || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := Dispatch(t.Context(), echo{}, "assert", body); err == nil || !strings.Contains(err.Error(), "makes no assertions on other hosts") {
		t.Error(err)
	}
}

func FuzzAssertion(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add([]byte("\x82\xa1h\xa5local\xa1f\xa0"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got modules.Assertion
		if _, err := Dispatch(context.Background(), asserting{got: &got}, "assert", body); err == nil {
			t.Error("an assertion that does not hold was taken for one that does")
		}
	})
}
