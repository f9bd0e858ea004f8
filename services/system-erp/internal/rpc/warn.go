package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// MetaWarning is the key of the answer's metadata that holds the codes of what the ERP said beside a success, one value each
// ("V4/117"). Their texts may name people and are in the ERP.
const MetaWarning = "selfsame-erp-warning"

// warn puts the codes of warnings beside an answer.
func warn(ctx context.Context, codes []string) {
	for _, code := range codes {
		if code = strings.Map(visible, code); code != "" {
			// Fails only outside a real call, where nobody listens.
			_ = grpc.SetHeader(ctx, metadata.Pairs(MetaWarning, code))
		}
	}
}

// visible drops what a header cannot hold.
func visible(r rune) rune {
	if r <= ' ' || r > '~' {
		return -1
	}
	return r
}
