package suite

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/conf"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
)

// Diagnose checks an org with the configuration of a system-salesforce that need not run; args are its flags.
func Diagnose(ctx context.Context, args []string) (*salesforcev1.DiagnoseResponse, error) {
	cfg, err := conf.Load(conf.Options{Program: SystemSalesforce, Args: args}, systemsalesforce.DefaultConfig())
	if err != nil {
		return nil, err
	}
	return systemsalesforce.Diagnose(ctx, cfg)
}
