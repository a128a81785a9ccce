package runner

import (
	"fmt"
	"strconv"
	"strings"
)

// batches cuts hosts by a serial setting: numbers and percentages of all hosts,
// the last repeated, as Ansible's serial. Empty serial is one batch.
func batches(hosts []string, serial []string) ([][]string, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	if len(serial) == 0 {
		return [][]string{hosts}, nil
	}
	var out [][]string
	rest := hosts
	for i := 0; len(rest) > 0; i++ {
		n, err := share(serial[min(i, len(serial)-1)], len(hosts))
		if err != nil {
			return nil, fmt.Errorf("serial: %w", err)
		}
		n = min(max(n, 1), len(rest))
		out = append(out, rest[:n])
		rest = rest[n:]
	}
	return out, nil
}

// share reads "3" or "25%" of total; a percentage is rounded down.
func share(s string, total int) (int, error) {
	s = strings.TrimSpace(s)
	num, percent := strings.CutSuffix(s, "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || n < 0 || !percent && n != float64(int(n)) {
		return 0, fmt.Errorf("%q is neither a number of hosts nor a percentage such as 25%%", s)
	}
	if percent {
		return int(float64(total) * n / 100), nil
	}
	return int(n), nil
}
