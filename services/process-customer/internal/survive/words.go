package survive

// The words of a rule file. The parser and the published schema are both made of these lists.
//
//nolint:gochecknoglobals // constants, which Go has no lists of
var (
	strategies        = []strategy{master, latest, priority, trust, longest, shortest, least, greatest, union, complete}
	strategiesDefault = []strategy{latest, priority, longest, shortest}
	strategiesUnit    = []strategy{master, latest, priority, trust, complete}
	blanks            = []blank{keep, clear, yield}
	blanksUnit        = []blank{clear, yield}
	policies          = []Overruled{Revert, Keep, Ask}

	keysTop      = []string{"version", "systems", "blank_values", "defaults", "objects"}
	keysSystem   = []string{"priority", "clock"}
	keysClock    = []string{"offset", "max_future"}
	keysDefaults = []string{"strategy", "bucket", "blank", "overruled"}
	keysObject   = []string{"create", "delete", "units", "fields"}
	keysField    = []string{"strategy", "master", "trust", "bucket", "blank", "overruled", "write_to", "normalise", "separator", "max_items"}
	keysUnit     = []string{"fields", "require_any", "strategy", "master", "trust", "bucket", "blank", "overruled", "write_to"}
)
