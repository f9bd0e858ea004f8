package rpc

import (
	"context"
	"net/url"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/edge"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/view"
)

const maxCases = 200

// ListCases implements MobileService.
func (s *Server) ListCases(ctx context.Context, req *mobilev1.ListCasesRequest) (*mobilev1.ListCasesResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.sees(ctx, req.GetCustomerId()); err != nil {
		return nil, err
	}
	got, err := s.screens.ListCases(ctx, &customerv1.ListCasesRequest{
		CustomerId: req.GetCustomerId(), OpenOnly: req.GetOpenOnly(), PageSize: min(req.GetPageSize(), maxCases), PageToken: req.GetPageToken(),
	}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	out := &mobilev1.ListCasesResponse{NextPageToken: got.GetNextPageToken()}
	for _, c := range got.GetCases() {
		out.Cases = append(out.Cases, view.Case(c))
	}
	return out, nil
}

// GetCase implements MobileService.
func (s *Server) GetCase(ctx context.Context, req *mobilev1.GetCaseRequest) (*mobilev1.GetCaseResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	got, err := s.screens.GetCaseView(ctx, &customerv1.GetCaseViewRequest{CaseId: req.GetCaseId()}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	if owned, err := s.owns(ctx, got.GetCustomer().GetId()); err != nil {
		return nil, err
	} else if !owned {
		return nil, unknownCase()
	}
	return &mobilev1.GetCaseResponse{Case: view.CaseScreen(got)}, nil
}

// OpenCase implements MobileService.
func (s *Server) OpenCase(ctx context.Context, req *mobilev1.OpenCaseRequest) (*mobilev1.OpenCaseResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.sees(ctx, req.GetCase().GetCustomerId()); err != nil {
		return nil, err
	}
	below := &customerv1.OpenCaseRequest{Case: view.NewCase(req.GetCase())}
	if req.GetValidateOnly() {
		got, err := s.screens.CheckOpenCase(ctx, &customerv1.CheckOpenCaseRequest{Request: below}, grpc.WaitForReady(false))
		if err != nil {
			return nil, s.translate(checked(err))
		}
		return &mobilev1.OpenCaseResponse{Case: view.CaseDetail(got.GetResponse().GetCase())}, nil
	}
	var note notes
	got, err := s.screens.OpenCase(idempotent.Child(ctx, "open-case", principalOf(ctx)), below, note.collect()...)
	note.pass(ctx, err)
	if err != nil {
		return nil, s.translate(err)
	}
	setHeader(ctx, edge.MetaCreated, "true", edge.MetaLocation, "/v1/cases/"+url.PathEscape(got.GetCase().GetSummary().GetId()))
	return &mobilev1.OpenCaseResponse{Case: view.CaseDetail(got.GetCase())}, nil
}

// GetAvailability implements MobileService.
func (s *Server) GetAvailability(ctx context.Context, req *mobilev1.GetAvailabilityRequest) (*mobilev1.GetAvailabilityResponse, error) {
	ctx, cancel := s.begin(ctx)
	defer cancel()
	got, err := s.screens.GetAvailability(ctx, &customerv1.GetAvailabilityRequest{Sku: req.GetSku()}, grpc.WaitForReady(false))
	if err != nil {
		return nil, s.translate(err)
	}
	return &mobilev1.GetAvailabilityResponse{Availability: view.Availability(got)}, nil
}
