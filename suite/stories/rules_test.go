package stories

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/suite"
)

// rulesOption: rules=FILE has process-customer follow a rule file of the story, rules-once=FILE look at it at each of its starts only.
func rulesOption(c *call, o *suite.Options, arg string) bool {
	every := 200 * time.Millisecond
	file, ours := strings.CutPrefix(arg, "rules=")
	if !ours {
		file, ours = strings.CutPrefix(arg, "rules-once=")
		every = time.Hour
	}
	if !ours {
		return false
	}
	before := o.Tune
	o.Tune = func(cfg *suite.Configs) {
		if before != nil {
			before(cfg)
		}
		cfg.ProcessCustomer.RulesFile = c.ts.MkAbs(file)
		cfg.ProcessCustomer.RulesReload = every
	}
	return true
}

// brakeOption: brake=N is how many deletions are carried out within an hour before a person has to confirm the others.
func brakeOption(o *suite.Options, arg string) (bool, error) {
	text, ours := strings.CutPrefix(arg, "brake=")
	if !ours {
		return false, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return true, fmt.Errorf("brake: %w", err)
	}
	before := o.Tune
	o.Tune = func(cfg *suite.Configs) {
		if before != nil {
			before(cfg)
		}
		cfg.ProcessCustomer.Deliver.DeleteBrake = n
	}
	return true, nil
}
