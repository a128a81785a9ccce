package facts

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func (h host) clock(context.Context) (map[string]any, error) {
	return map[string]any{"date_time": dateTime(time.Now())}, nil
}

// dateTime is Ansible's date_time: everything as text, local time but for the
// iso8601 forms with a Z.
func dateTime(now time.Time) map[string]any {
	utc := now.UTC()
	zone, _ := now.Zone()
	// Weeks begin on Monday, and the first one with the first Monday (%W).
	week := (now.YearDay() + 6 - (int(now.Weekday())+6)%7) / 7
	return map[string]any{
		"year": now.Format("2006"), "month": now.Format("01"), "day": now.Format("02"),
		"hour": now.Format("15"), "minute": now.Format("04"), "second": now.Format("05"),
		"weekday": now.Weekday().String(), "weekday_number": strconv.Itoa(int(now.Weekday())),
		"weeknumber": fmt.Sprintf("%02d", week),
		"epoch":      strconv.FormatInt(now.Unix(), 10), "epoch_int": strconv.FormatInt(now.Unix(), 10),
		"date": now.Format("2006-01-02"), "time": now.Format("15:04:05"),
		"iso8601": utc.Format("2006-01-02T15:04:05Z"), "iso8601_micro": utc.Format("2006-01-02T15:04:05.000000Z"),
		"iso8601_basic":       strings.Replace(now.Format("20060102T150405.000000"), ".", "", 1),
		"iso8601_basic_short": now.Format("20060102T150405"),
		"tz":                  zone, "tz_dst": zone, "tz_offset": now.Format("-0700"),
	}
}

func (h host) uptime(context.Context) (map[string]any, error) {
	if text := h.read("/proc/uptime"); text != "" {
		first, _, _ := strings.Cut(text, " ")
		s, err := strconv.ParseFloat(first, 64)
		if err != nil {
			return nil, fmt.Errorf("read /proc/uptime: %w", err)
		}
		return map[string]any{"uptime_seconds": int(s)}, nil
	}
	s, err := bootSeconds()
	if err != nil {
		return nil, err
	}
	return map[string]any{"uptime_seconds": s}, nil
}

func (h host) load(context.Context) (map[string]any, error) {
	fields := strings.Fields(h.read("/proc/loadavg"))
	if len(fields) < 3 {
		return nil, nil
	}
	out := map[string]any{}
	for i, key := range []string{"1m", "5m", "15m"} {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return nil, fmt.Errorf("read /proc/loadavg: %w", err)
		}
		out[key] = n
	}
	return map[string]any{"loadavg": out}, nil
}
