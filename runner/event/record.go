package event

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/sloth-runner/sloth/modules/packed"
)

// MaxBody is the size of one encoded event; a worker that sends more is not
// believed.
const MaxBody = 16 << 20

// KindSecret is a secret that a worker made, packed as text. It is no Event:
// nobody shows or keeps it.
const KindSecret = "secret"

// kinds holds the type of every event, by kind.
var kinds = func() map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for _, e := range []Event{RunStarted{}, TaskStarted{}, Output{}, Log{}, Called{}, TaskRetry{}, TaskDone{}, HostLost{}, Progress{}, RunDone{}} {
		m[e.kind()] = reflect.TypeOf(e)
	}
	return m
}()

// Encode packs e for the wire.
func Encode(e Event) (kind string, body []byte, err error) {
	body, err = packed.Compact(e)
	return e.kind(), body, err
}

// Decode unpacks what Encode packed. The bytes may be a stranger's.
func Decode(kind string, body []byte) (Event, error) {
	t, ok := kinds[kind]
	if !ok {
		return nil, fmt.Errorf("unknown kind of event %.40q", kind)
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("event %s of %d bytes is over the limit of %d", kind, len(body), MaxBody)
	}
	p := reflect.New(t)
	if err := packed.Unmarshal(body, p.Interface()); err != nil {
		return nil, fmt.Errorf("event %s: %w", kind, err)
	}
	return p.Elem().Interface().(Event), nil
}

// Record is one event as a line of a run's record.
type Record struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	// Event is the event itself, as JSON.
	Event json.RawMessage `json:"event"`
}

// Marshal makes a record line, without the newline. Data that JSON has no form
// for is written as Plain says.
func Marshal(seq uint64, at time.Time, e Event) ([]byte, error) {
	switch t := e.(type) {
	case TaskDone:
		t.Outputs = Plain(t.Outputs)
		e = t
	case Log:
		if t.Fields != nil {
			t.Fields, _ = Plain(t.Fields).(map[string]any)
		}
		e = t
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return json.Marshal(Record{Seq: seq, Time: at, Kind: e.kind(), Event: body})
}

// Unmarshal reads a record line.
func Unmarshal(line []byte) (Record, Event, error) {
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return r, nil, err
	}
	t, ok := kinds[r.Kind]
	if !ok {
		return r, nil, fmt.Errorf("unknown kind of event %.40q", r.Kind)
	}
	p := reflect.New(t)
	if err := json.Unmarshal(r.Event, p.Interface()); err != nil {
		return r, nil, fmt.Errorf("event %s: %w", r.Kind, err)
	}
	e := p.Elem().Interface().(Event)
	switch t := e.(type) {
	case TaskDone:
		t.Outputs = unplain(t.Outputs)
		e = t
	case Log:
		if t.Fields != nil {
			t.Fields, _ = unplain(t.Fields).(map[string]any)
		}
		e = t
	}
	return r, e, nil
}
