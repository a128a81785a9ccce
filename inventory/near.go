package inventory

import (
	"slices"
	"strings"
)

// nearest returns the name most like the given one, or "" when none is.
func nearest(name string, names []string) string {
	if like := likely(name, names); len(like) > 0 {
		return like[0]
	}
	return ""
}

// likely returns up to three names that are most like the given one.
func likely(name string, names []string) []string {
	var best []string
	limit := max(1, len(name)/3)
	lower := strings.ToLower(name)
	for _, n := range names {
		if abs(len(n)-len(name)) > limit {
			continue
		}
		switch d := distance(lower, strings.ToLower(n), limit); {
		case d > limit:
		case d < limit || len(best) == 0:
			best, limit = []string{n}, d
		case len(best) < 3 && !slices.Contains(best, n):
			best = append(best, n)
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// distance is the number of edits between a and b, where two swapped neighbours
// are one; what is above limit may be given as limit+1.
func distance(a, b string, limit int) int {
	from, to := []rune(a), []rune(b)
	if abs(len(from)-len(to)) > limit {
		return limit + 1
	}
	var before []int
	last := make([]int, len(to)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(from); i++ {
		row := make([]int, len(to)+1)
		row[0] = i
		for j := 1; j <= len(to); j++ {
			cost := 1
			if from[i-1] == to[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && from[i-1] == to[j-2] && from[i-2] == to[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(to)]
}
