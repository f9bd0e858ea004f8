package rpc

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/view"
)

// envelope is a token of a pull. It authorizes nothing: what the caller sees is decided anew with every page.
type envelope struct {
	// Page is true within a pull, false for the token to come back with.
	Page bool `json:"p,omitempty"`
	// Holder is who it was made for, and what they saw then.
	Holder string `json:"h"`
	// Inner is the token of the process layer.
	Inner string `json:"t"`
}

var envelopeFilter = page.Hash("sync")

// SyncCustomers implements MobileService.
func (s *Server) SyncCustomers(ctx context.Context, req *mobilev1.SyncCustomersRequest) (*mobilev1.SyncCustomersResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	ids, err := s.pulled(ctx)
	if err != nil {
		return nil, err
	}
	holder := holder(ctx, "sync", ids)
	token, err := readToken(req, holder)
	if err != nil {
		return nil, err
	}
	got, err := s.screens.ListCustomerChanges(ctx, &customerv1.ListCustomerChangesRequest{
		Token: token, PageSize: min(req.GetPageSize(), maxCustomers), CustomerIds: ids,
	}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	out := &mobilev1.SyncCustomersResponse{}
	for _, c := range got.GetChanges() {
		// A process layer of an earlier release returns everybody's.
		if ids != nil && !slices.Contains(ids, c.GetCustomerId()) {
			continue
		}
		one := &mobilev1.SyncedCustomer{CustomerId: c.GetCustomerId(), Deleted: c.GetDeleted(), MergedInto: c.GetMergedInto()}
		if !c.GetDeleted() {
			one.Customer = view.Customer(c.GetCustomer())
		}
		out.Customers = append(out.Customers, one)
	}
	next, err := page.Encode(envelopeFilter, envelope{Page: got.GetMore(), Holder: holder, Inner: got.GetNextToken()})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "", err, "internal error")
	}
	if got.GetMore() {
		out.NextPageToken = next
	} else {
		out.SyncToken = next
	}
	return out, nil
}

// pulled returns the ids that a pull is of; nil for every customer. Those that the token names and those they lead to: who has stored
// the one hears that it is gone, and gets the other. A merge makes it another pull, so tokens of the one before are of no use.
func (s *Server) pulled(ctx context.Context) ([]string, error) {
	p := principal(ctx)
	if !p.Restricted {
		return nil, nil
	}
	to, err := s.lead(ctx, p.Customers)
	if err != nil {
		return nil, err
	}
	ids := append(slices.Clone(p.Customers), to...)
	slices.Sort(ids)
	if len(ids) == 0 {
		return []string{nobody}, nil
	}
	return slices.Compact(ids), nil
}

// nobody is what no customer is called: a pull of none is not one of all.
const nobody = "-"

// readToken returns the token of the process layer. One that was made for somebody else, or for the same caller while
// they saw other customers, is as good as lost: what it left out then is not known.
func readToken(req *mobilev1.SyncCustomersRequest, holder string) (string, error) {
	text, reason := req.GetSyncToken(), problem.SyncTokenInvalid
	if req.GetPageToken() != "" {
		if text != "" {
			return "", fault.InvalidField("page_token", "", "cannot be combined with syncToken")
		}
		text, reason = req.GetPageToken(), fault.ReasonPageTokenInvalid
	}
	if text == "" {
		return "", nil
	}
	var e envelope
	err := page.Decode(text, envelopeFilter, &e)
	if err == nil && e.Page != (req.GetPageToken() != "") {
		err = errors.New("a token of the other kind")
	}
	if err != nil {
		return "", fault.New(fault.Invalid, reason, "the token is not one that this service gave out")
	}
	if e.Holder != holder {
		return "", fault.New(fault.Precondition, problem.SyncTokenExpired, "the token was made for another view of the customers")
	}
	return e.Inner, nil
}
