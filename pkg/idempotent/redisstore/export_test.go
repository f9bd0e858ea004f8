package redisstore

import "strings"

// Rewrite changes the scripts of the store, so that a test can put mistakes into them: pairs of what is there and what is there instead.
// It returns what of it is in no script.
func (s *Store) Rewrite(pairs ...string) (missing []string, err error) {
	found := map[string]bool{}
	err = s.load(func(text string) string {
		for i := 0; i < len(pairs); i += 2 {
			found[pairs[i]] = found[pairs[i]] || strings.Contains(text, pairs[i])
			text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
		}
		return text
	})
	for i := 0; i < len(pairs); i += 2 {
		if !found[pairs[i]] {
			missing = append(missing, pairs[i])
		}
	}
	return missing, err
}
