//go:build race

package agx_test

const raceDetector = true
