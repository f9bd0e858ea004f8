package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// batch writes the records that can be read and answers all in order: read turns a message into a write, write does those
// that could be read.
func batch[M proto.Message, W, R any](ctx context.Context, s *Server, object string, messages []M,
	read func(M) (W, error), write func(context.Context, []W) ([]store.Result[R], error),
) ([]store.Result[R], error) {
	results := make([]store.Result[R], len(messages))
	var writes []W
	var places []int
	for i, m := range messages {
		w, err := readOne(s, m, read)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				return nil, err
			}
			results[i] = store.Result[R]{Outcome: erp.Refused, Err: err}
			continue
		}
		writes, places = append(writes, w), append(places, i)
	}
	if len(writes) > 0 {
		written, err := write(ctx, writes)
		if err != nil {
			return nil, err
		}
		for i, place := range places {
			results[place] = written[i]
		}
	}
	for _, r := range results {
		s.count(ctx, object, r.Outcome)
	}
	return results, nil
}

func readOne[M proto.Message, W any](s *Server, m M, read func(M) (W, error)) (W, error) {
	if err := s.valid(m); err != nil {
		var none W
		return none, err
	}
	return read(m)
}
