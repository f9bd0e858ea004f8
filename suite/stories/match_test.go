package stories

import (
	"strings"

	"github.com/selfsame-io/selfsame/suite"
)

// matchOption: match=MODE says what matching may do.
func matchOption(o *suite.Options, arg string) bool {
	mode, ours := strings.CutPrefix(arg, "match=")
	if !ours {
		return false
	}
	before := o.Tune
	o.Tune = func(cfg *suite.Configs) {
		if before != nil {
			before(cfg)
		}
		cfg.ProcessCustomer.Match.Mode = mode
	}
	return true
}
