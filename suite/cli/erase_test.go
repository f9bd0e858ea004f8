package cli

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// eraser has one erasure that waits for Salesforce, and one that is done.
type eraser struct {
	customerv1.UnimplementedOperationsServiceServer
	key ed25519.PrivateKey
}

func (e eraser) open() *customerv1.Erasure {
	return &customerv1.Erasure{Id: "e_open", GoldenId: "c_1", Object: "customer", State: "ERASING", RequestTime: timestamppb.Now(), Steps: []*customerv1.ErasureStep{
		{System: "salesforce", State: "REFUSED", Reason: "DELETE_FAILED"}, {System: "erp", State: "DONE"},
	}}
}

func (e eraser) done() *customerv1.Erasure {
	const text = `{"erasure":"e_done"}`
	public, _ := e.key.Public().(ed25519.PublicKey)
	return &customerv1.Erasure{
		Id: "e_done", GoldenId: "c_2", Object: "customer", State: "DONE", RequestTime: timestamppb.Now(), Receipt: text,
		Signature: ed25519.Sign(e.key, []byte(text)), PublicKey: public,
	}
}

func (e eraser) EraseRecord(_ context.Context, req *customerv1.EraseRecordRequest) (*customerv1.EraseRecordResponse, error) {
	out := e.open()
	out.Systems = req.GetSystems()
	return &customerv1.EraseRecordResponse{Erasures: []*customerv1.Erasure{out}}, nil
}

func (e eraser) GetErasure(_ context.Context, req *customerv1.GetErasureRequest) (*customerv1.GetErasureResponse, error) {
	if req.GetId() == "c_1" {
		return &customerv1.GetErasureResponse{Erasure: e.open()}, nil
	}
	return &customerv1.GetErasureResponse{Erasure: e.done()}, nil
}

func (e eraser) ListErasures(_ context.Context, req *customerv1.ListErasuresRequest) (*customerv1.ListErasuresResponse, error) {
	out := []*customerv1.Erasure{e.open()}
	if !req.GetOpenOnly() {
		out = append(out, e.done())
	}
	return &customerv1.ListErasuresResponse{Erasures: out}, nil
}

func (eraser) GetShadow(context.Context, *customerv1.GetShadowRequest) (*customerv1.GetShadowResponse, error) {
	return &customerv1.GetShadowResponse{Shadow: true, Since: timestamppb.Now(), Records: 3, Fields: []*customerv1.FieldParity{
		{Object: "customer", Field: "phone", Matched: 1, Different: 7}, {Object: "contact", Waiting: 2},
	}}, nil
}

func (eraser) ListShadowWrites(_ context.Context, req *customerv1.ListShadowWritesRequest) (*customerv1.ListShadowWritesResponse, error) {
	if req.GetPageToken() == "" {
		return &customerv1.ListShadowWritesResponse{NextPageToken: "more"}, nil
	}
	return &customerv1.ListShadowWritesResponse{Writes: []*customerv1.ShadowWrite{
		{GoldenId: "c_1", Object: "customer", Kind: "update", Field: "phone", State: "DIFFERENT", Before: "0", Intended: "1", Holds: "2", Since: timestamppb.Now()},
	}}, nil
}

func TestErase(t *testing.T) {
	t.Parallel()
	server := eraser{key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	addr := serveOperations(t, server)
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
		not  string
	}{
		"a person is erased":               {args: []string{"erase", "customer/c_1", "--reason", "x"}, says: []string{"e_open", "ERASING", "everywhere", "salesforce DELETE_FAILED"}},
		"from one system only":             {args: []string{"erase", "customer/c_1", "--reason", "x", "--only", "erp"}, says: []string{"erp"}, not: "everywhere"},
		"a reason is needed":               {args: []string{"erase", "customer/c_1"}, code: exitUsage, says: []string{"--reason"}},
		"all are listed":                   {args: []string{"erase", "list"}, says: []string{"e_open", "e_done"}},
		"those that wait":                  {args: []string{"erase", "list", "--open"}, says: []string{"e_open"}, not: "e_done"},
		"there is no receipt before":       {args: []string{"erase", "receipt", "c_1"}, code: exitFailed, says: []string{"ERASING"}},
		"the parity of fields is reported": {args: []string{"shadow", "report", "erp"}, says: []string{"phone", "7", "(record)", "3 records"}},
		"what would be written is listed":  {args: []string{"shadow", "list", "erp"}, says: []string{"customer/c_1", "DIFFERENT"}, not: `"2"`},
		"values when asked for":            {args: []string{"shadow", "list", "erp", "--show-values"}, says: []string{`"0"`, `"1"`, `"2"`}},
		"shadowing needs a reason":         {args: []string{"shadow", "start", "erp"}, code: exitUsage, says: []string{"--reason"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, problems := run(t, append(c.args, "--addr", addr)...)
			require.Equal(t, c.code, code, problems)
			for _, text := range c.says {
				require.Contains(t, out+problems, text)
			}
			if c.not != "" {
				require.NotContains(t, out, c.not)
			}
		})
	}
	t.Run("a receipt is checked, and one that was changed is found", func(t *testing.T) {
		t.Parallel()
		code, receipt, problems := run(t, "erase", "receipt", "c_2", "--addr", addr)
		require.Zero(t, code, problems)
		file := filepath.Join(t.TempDir(), "receipt.json")
		require.NoError(t, os.WriteFile(file, []byte(receipt), 0o600))
		code, out, _ := run(t, "erase", "verify", file)
		require.Zero(t, code)
		require.Contains(t, out, "as it was signed")
		require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(receipt, "e_done", "e_gone")), 0o600))
		code, out, _ = run(t, "erase", "verify", file)
		require.Equal(t, exitFailed, code)
		require.Contains(t, out, "not what was signed")
	})
}
