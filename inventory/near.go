package inventory

import "strings"

// nearest returns the name most like the given one, or "" when none is.
func nearest(name string, names []string) string {
	best, bestAt := "", max(1, len(name)/3)+1
	lower := strings.ToLower(name)
	for _, n := range names {
		if abs(len(n)-len(name)) >= bestAt {
			continue
		}
		if d := distance(lower, strings.ToLower(n), bestAt); d < bestAt {
			best, bestAt = n, d
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// distance counts the letters to change, up to limit.
func distance(a, b string, limit int) int {
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		least := cur[0]
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j]+cost, prev[j+1]+1, cur[j]+1)
			least = min(least, cur[j+1])
		}
		if least >= limit {
			return limit
		}
		prev, cur = cur, prev
	}
	return prev[len(b)]
}
