package idempotent

import "strings"

// Rewrite changes the statements of the store, so that a test can put a mistake into them. It returns how many it changed.
func (s *SQLStore) Rewrite(before, after string) (changed int) {
	for original, text := range s.text {
		if wrong := strings.ReplaceAll(text, before, after); wrong != text {
			s.text[original] = wrong
			changed++
		}
	}
	return changed
}

// Crowd makes the store hold claims and answers for company, as it does while many others work with the database, and longer.
func (s *SQLStore) Crowd() {
	crowded := func() bool { return true }
	s.claims.limit, s.claims.pace, s.claims.crowded = 1, 4*writePace, crowded
	s.completes.limit, s.completes.pace, s.completes.crowded = 1, 4*writePace, crowded
}
