// Package hostfile is the wanted state of one file on a host: what differs from
// it, and how it is brought about. All modules that leave files behind use it,
// so that they agree on owners, modes, links, backups and diffs.
package hostfile

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// PlannedID is the id of a user or group that only the plan brings into being.
const PlannedID = -2

// UserID returns the uid of a name or number. A user that this plan creates, or
// that a package or command of it may bring, has PlannedID.
func UserID(ctx context.Context, v facts.Viewer, name string) (int, error) {
	return lookup(ctx, v, "user", "/etc/passwd", "passwd", name)
}

// GroupID is UserID for groups.
func GroupID(ctx context.Context, v facts.Viewer, name string) (int, error) {
	return lookup(ctx, v, "group", "/etc/group", "group", name)
}

func lookup(ctx context.Context, v facts.Viewer, kind, file, database, name string) (int, error) {
	if id, err := strconv.Atoi(name); err == nil && id >= 0 {
		return id, nil
	}
	if f, err := v.Open(file); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if id, ok := idOf(lines.Text(), name); ok {
				return id, nil
			}
		}
	}
	if planned, ok := modules.Noted(v, kind+":"+name); ok && planned != modules.Absent {
		return PlannedID, nil
	}
	// Directory services are asked last: most hosts have none.
	if _, err := v.LookPath("getent"); err == nil {
		answer, err := v.Query(ctx, "getent", database, name)
		if err != nil {
			return 0, err
		}
		if id, ok := idOf(strings.TrimSpace(string(answer.Stdout)), name); ok {
			return id, nil
		}
	}
	if Unsure(v) {
		return PlannedID, nil
	}
	return 0, fmt.Errorf("there is no %s %q on this host", kind, name)
}

func idOf(line, name string) (int, bool) {
	fields := strings.Split(line, ":")
	if len(fields) < 3 || fields[0] != name {
		return 0, false
	}
	id, err := strconv.Atoi(fields[2])
	return id, err == nil
}
