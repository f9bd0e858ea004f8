package stories

import (
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/suite"
)

// rulesOption: rules=FILE has process-customer follow a rule file of the story.
func rulesOption(c *call, o *suite.Options, arg string) bool {
	file, ours := strings.CutPrefix(arg, "rules=")
	if !ours {
		return false
	}
	before := o.Tune
	o.Tune = func(cfg *suite.Configs) {
		if before != nil {
			before(cfg)
		}
		cfg.ProcessCustomer.RulesFile = c.ts.MkAbs(file)
		cfg.ProcessCustomer.RulesReload = 200 * time.Millisecond
	}
	return true
}
