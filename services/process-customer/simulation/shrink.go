package simulation

import (
	"context"
	"slices"
)

// Shrink shortens a story that breaks a rule to one that still breaks the same rule and of which no step, and no half
// of the steps, can be left out. It plays at most tries stories.
func Shrink(ctx context.Context, stage *Stage, story Story, bug Bug, rule string, tries int) (Story, error) {
	s := &shrinker{ctx: ctx, stage: stage, bug: bug, rule: rule, tries: tries}
	for _, simpler := range []func(*Story){
		func(s *Story) { s.Skew = 0 }, func(s *Story) { s.Coarse = false }, func(s *Story) { s.Processes = 1 }, func(s *Story) { s.Late = true },
		func(s *Story) { s.Deletes = "" },
	} {
		next := story
		simpler(&next)
		if s.fails(next) {
			story = next
		}
	}
	for size := max(1, len(story.Steps)/2); ; size = max(1, size/2) {
		before := len(story.Steps)
		story = s.without(story, size)
		if s.err != nil || s.tries <= 0 || (size == 1 && len(story.Steps) == before) {
			return story, s.err
		}
	}
}

type shrinker struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call
	stage *Stage
	bug   Bug
	rule  string
	tries int
	err   error
}

// without leaves out as many runs of size steps as it can, from the end.
func (s *shrinker) without(story Story, size int) Story {
	for end := len(story.Steps); end > 0; end -= size {
		next := story
		next.Steps = slices.Delete(slices.Clone(story.Steps), max(0, end-size), end)
		if s.fails(next) {
			story = next
		}
	}
	return story
}

// fails reports whether a story breaks the rule that it is about.
func (s *shrinker) fails(story Story) bool {
	if s.tries--; s.tries < 0 || s.err != nil {
		return false
	}
	res, err := Play(s.ctx, s.stage, story, s.bug)
	s.err = err
	return err == nil && res.Rule == s.rule
}
