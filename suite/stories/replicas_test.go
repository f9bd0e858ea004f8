package stories

import (
	"fmt"
	"os"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/suite"
)

// condition: [postgres] is true when there is a PostgreSQL to test with, and always in a pipeline, which must not forget it.
func condition(name string) (bool, error) {
	if name != "postgres" {
		return false, fmt.Errorf("there is no condition %q", name)
	}
	return os.Getenv(dbtest.PostgresEnv) != "" || os.Getenv("CI") == "true", nil
}

// replicasOption: replicas=N runs so many process-customers on one PostgreSQL.
func replicasOption(c *call, o *suite.Options, arg string) (bool, error) {
	number, ours := strings.CutPrefix(arg, "replicas=")
	if !ours {
		return false, nil
	}
	if _, err := fmt.Sscan(number, &o.Replicas); err != nil {
		return true, err
	}
	o.Replicas-- // beside the first
	dsn := dbtest.DSN(c.t, "postgres")
	before := o.Tune
	o.Tune = func(cfg *suite.Configs) {
		if before != nil {
			before(cfg)
		}
		cfg.ProcessCustomer.Store.DSN = conf.Secret(dsn)
	}
	return true, nil
}
