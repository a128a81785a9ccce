package master

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// maxAudit is how long an audit file gets before it becomes audit.log.1.
const maxAudit = 32 << 20

// auditLog is the record of who did what: lines of JSON.
type auditLog struct {
	mu   sync.Mutex
	path string
	f    *os.File
	size int64
}

type auditLine struct {
	Time    time.Time `json:"time"`
	Who     string    `json:"who"`
	Address string    `json:"address"`
	Method  string    `json:"method"`
	Object  string    `json:"object,omitempty"`
	Stack   string    `json:"stack,omitempty"` // as the controller says
	Refused string    `json:"refused,omitempty"`
}

func openAudit(dir string) (*auditLog, error) {
	a := &auditLog{path: filepath.Join(dir, "audit.log")}
	return a, a.open()
}

func (a *auditLog) open() (err error) {
	if a.f, err = os.OpenFile(a.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	st, err := a.f.Stat()
	if err == nil {
		a.size = st.Size()
	}
	return err
}

func (a *auditLog) write(l auditLine) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size > maxAudit {
		a.f.Close()
		if err := os.Rename(a.path, a.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := a.open(); err != nil {
			return err
		}
	}
	n, err := a.f.Write(append(b, '\n'))
	a.size += int64(n)
	return err
}

func (a *auditLog) close() { a.f.Close() }

// audit records a call, and says refused ones in the log too.
func (m *Master) audit(c *caller, method, object string, refused error) {
	m.auditRun(c, method, object, "", refused)
}

// auditRun is audit for what belongs to a run in a stack.
func (m *Master) auditRun(c *caller, method, object, stack string, refused error) {
	l := auditLine{Time: m.now().UTC(), Who: c.name(), Address: c.address, Method: method, Object: object, Stack: printable(stack)}
	if refused != nil {
		l.Refused = status.Convert(refused).Message()
		m.refusals.Add(1)
		if m.loud.allow(c.address, m.now()) {
			m.log("refused %s of %s (%s): %s", method, c.name(), c.address, l.Refused)
		}
	}
	if err := m.records.write(l); err != nil {
		m.log("the audit could not be written: %v", err)
	}
}
