//go:build race

package badger

// raceFactor is how much slower things may be under the race detector.
const raceFactor = 20
