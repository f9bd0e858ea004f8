package crm

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Merge makes one record of two, as an administrator does: the victim is deleted, and what belonged to it belongs to the master. The
// REST API has no such call, so it goes by SOAP.
func (c *Client) Merge(ctx context.Context, master, victim string) error {
	token, base, err := c.session(ctx)
	if err != nil {
		return err
	}
	target, err := url.Parse(base)
	if err != nil {
		return fmt.Errorf("instance url: %w", err)
	}
	target.Path = "/services/Soap/u/66.0"
	var body strings.Builder
	body.WriteString(`<E:Envelope xmlns:E="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com"><E:Header><SessionHeader><sessionId>`)
	_ = xml.EscapeText(&body, []byte(token)) // a builder never fails
	body.WriteString(`</sessionId></SessionHeader></E:Header><E:Body><merge><request><masterRecord><Id>`)
	_ = xml.EscapeText(&body, []byte(master))
	body.WriteString(`</Id></masterRecord><recordToMergeIds>`)
	_ = xml.EscapeText(&body, []byte(victim))
	body.WriteString(`</recordToMergeIds></request></merge></E:Body></E:Envelope>`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(body.String()))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "text/xml; charset=UTF-8")
	req.Header.Set("SOAPAction", `""`)
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	var answer struct {
		Result *struct {
			Success bool `xml:"success"`
			Errors  []struct {
				Code string `xml:"statusCode"`
			} `xml:"errors"`
		} `xml:"Body>mergeResponse>result"`
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return &Error{Status: res.StatusCode, Code: http.StatusText(res.StatusCode)}
	case xml.Unmarshal(text, &answer) != nil || answer.Result == nil:
		return errors.New("decode answer: not the result of a merge")
	case !answer.Result.Success:
		refused := &Error{Status: res.StatusCode, Code: "UNKNOWN"}
		if len(answer.Result.Errors) > 0 {
			refused.Code = answer.Result.Errors[0].Code
		}
		return fmt.Errorf("merge: %w", refused)
	}
	return nil
}
