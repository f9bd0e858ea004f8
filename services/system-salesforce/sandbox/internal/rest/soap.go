package rest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// lastLogin is the newest version in which SOAP knows login().
const lastLogin = 64

// element is one XML element of a request.
type element struct {
	XMLName  xml.Name
	Children []element `xml:",any"`
	Text     string    `xml:",chardata"`
}

// text returns the text of a child.
func (e *element) text(name string) string {
	for _, c := range e.Children {
		if c.XMLName.Local == name {
			return strings.TrimSpace(c.Text)
		}
	}
	return ""
}

// texts returns the texts of all children with a name.
func (e *element) texts(name string) []string {
	var out []string
	for _, c := range e.Children {
		if c.XMLName.Local == name {
			out = append(out, strings.TrimSpace(c.Text))
		}
	}
	return out
}

type envelope struct {
	XMLName xml.Name `xml:"Envelope"`
	Session string   `xml:"Header>SessionHeader>sessionId"`
	Client  string   `xml:"Header>CallOptions>client"`
	Body    element  `xml:"Body"`
}

// soapCall is one request to the partner API.
type soapCall struct {
	*Server
	r       *http.Request
	version string
	session auth.Session
	client  string
}

// soap serves the few calls of the partner API that clients of the REST API
// still make: POST /services/Soap/u/{version}.
func (s *Server) soap(r *http.Request, seg []string) *answer {
	if len(seg) < 2 || len(seg) > 3 || seg[0] != "u" {
		return notFound()
	}
	if r.Method != http.MethodPost {
		return wrongMethod(r.Method)
	}
	number, err := strconv.Atoi(strings.TrimSuffix(seg[1], ".0"))
	if err != nil || !strings.HasSuffix(seg[1], ".0") || number < oldestVersion || number > newestVersion {
		return fault("UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL")
	}
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	b, err := payload(r)
	var in envelope
	if err != nil || xml.NewDecoder(bytes.NewReader(b)).Decode(&in) != nil || len(in.Body.Children) != 1 {
		return fault("", "The request is not a SOAP envelope with one call.")
	}
	what := &in.Body.Children[0]
	c := &soapCall{Server: s, r: r, version: seg[1], client: in.Client}
	if what.XMLName.Local == "login" {
		return c.login(what, number)
	}
	var ok bool
	if c.session, ok = s.opt.Sessions.Check(strings.TrimSpace(in.Session)); !ok {
		return fault("INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader: Illegal Session")
	}
	if !s.calls.take("POST /Soap/" + what.XMLName.Local) {
		return fault("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
	}
	switch what.XMLName.Local {
	case "logout":
		s.opt.Sessions.Revoke(c.session.Token)
		return soapAnswer("<logoutResponse/>")
	case "getUserInfo":
		return soapAnswer("<getUserInfoResponse><result>" + c.userInfo(c.session.User) + "</result></getUserInfoResponse>")
	case "merge":
		return c.merge(what)
	case "undelete":
		return c.undelete(what.texts("ids"))
	case "emptyRecycleBin":
		return c.emptyBin(what.texts("ids"))
	case "getServerTimestamp":
		return soapAnswer("<getServerTimestampResponse><result><timestamp>" + s.opt.Now().UTC().Format("2006-01-02T15:04:05.000Z") +
			"</timestamp></result></getServerTimestampResponse>")
	}
	return fault("", "No operation available for request {urn:partner.soap.sforce.com}"+what.XMLName.Local)
}

func (c *soapCall) login(in *element, number int) *answer {
	v := c.opt.Verifier
	switch {
	case number > lastLogin:
		return fault("INVALID_OPERATION", "The SOAP Login operation is not available in the API version specified ("+c.version+
			"). Refer to the documentation for supported versions.")
	case !v.HasPasswords():
		return fault("INVALID_OPERATION", "SOAP API login() is disabled by default in this org. Contact the org administrator to enable SOAP API login().")
	}
	user, ok := v.Login(in.text("username"), in.text("password"))
	if !ok {
		return fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
	}
	session := c.opt.Sessions.Issue(user, "soap")
	c.session = session
	base, org := c.base(c.r), c.opt.Sessions.Org()
	// The order is that of the WSDL: clients count positions.
	return soapAnswer("<loginResponse><result>" +
		tag("metadataServerUrl", base+"/services/Soap/m/"+c.version+"/"+org[:15]) +
		tag("passwordExpired", "false") +
		tag("sandbox", "true") +
		tag("serverUrl", base+"/services/Soap/u/"+c.version+"/"+org[:15]) +
		tag("sessionId", session.Token) +
		tag("userId", user.ID) +
		"<userInfo>" + c.userInfo(user) + "</userInfo></result></loginResponse>")
}

// maxIDs is how many records one call may name.
const maxIDs = 200

// recordIDs are ids as the store knows them; what is no id finds nothing.
func recordIDs(given []string) []string {
	out := make([]string, len(given))
	for i, id := range given {
		out[i], _ = sfid.Normal(id)
	}
	return out
}

func tooManyIDs() *answer {
	return fault("EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records into this call")
}

// meta says who writes and through what.
func (c *soapCall) meta() store.Meta {
	origin := "com/salesforce/api/soap/" + c.version
	if c.client != "" {
		origin += ";client=" + c.client
	}
	may := c.access.get()
	return store.Meta{User: c.session.User.ID, Origin: origin, Hidden: may.hiddenFrom(c.session.User.Username), Fields: may.rightsOf(c.session.User.Username, c.opt.Schema), Mute: may.mute(c.session.User.Username)}
}

// undelete brings records back from the bin, each for itself.
func (c *soapCall) undelete(ids []string) *answer {
	if len(ids) > maxIDs {
		return tooManyIDs()
	}
	refusals := make([]*store.Error, len(ids))
	_ = c.opt.Store.Write(c.meta(), func(tx *store.Tx) error { // refusals are in the results
		for i, id := range recordIDs(ids) {
			refusals[i] = tx.Undelete(id)
		}
		return nil
	})
	return soapResults("undeleteResponse", ids, refusals)
}

// emptyBin takes records out of the bin for good.
func (c *soapCall) emptyBin(ids []string) *answer {
	if len(ids) > maxIDs {
		return tooManyIDs()
	}
	return soapResults("emptyRecycleBinResponse", ids, c.opt.Store.Purge(recordIDs(ids)))
}

func soapResults(name string, ids []string, refusals []*store.Error) *answer {
	var b strings.Builder
	for i, err := range refusals {
		b.WriteString("<result>")
		if err != nil {
			b.WriteString(soapError(err) + tag("id", "") + tag("success", "false"))
		} else {
			b.WriteString(tag("id", recordIDs(ids[i : i+1])[0]) + tag("success", "true"))
		}
		b.WriteString("</result>")
	}
	return soapAnswer("<" + name + ">" + b.String() + "</" + name + ">")
}

func soapError(err *store.Error) string {
	return "<errors>" + tag("message", err.Message) + tag("statusCode", err.Code) + "</errors>"
}

// userInfo is GetUserInfoResult, in the order of the WSDL.
func (c *soapCall) userInfo(u auth.User) string {
	left := c.session.Expires.Sub(c.opt.Now()) / time.Second
	var b strings.Builder
	for _, m := range [][2]string{
		{"accessibilityMode", "false"},
		{"chatterExternal", "false"},
		{"currencySymbol", "$"},
		{"orgAttachmentFileSizeLimit", "26214400"},
		{"orgDefaultCurrencyIsoCode", "USD"},
		{"orgDefaultCurrencyLocale", "en_US"},
		{"orgDisallowHtmlAttachments", "false"},
		{"orgHasPersonAccounts", "false"},
		{"organizationId", c.opt.Sessions.Org()},
		{"organizationMultiCurrency", "false"},
		{"organizationName", "Selfsame Sandbox"},
		{"profileId", "00e000000000001AAA"},
		{"roleId", ""},
		{"sessionSecondsValid", strconv.Itoa(int(left))},
		{"userDefaultCurrencyIsoCode", ""},
		{"userEmail", u.Email},
		{"userFullName", u.Name},
		{"userId", u.ID},
		{"userLanguage", "en_US"},
		{"userLocale", "en_US"},
		{"userName", u.Username},
		{"userTimeZone", "GMT"},
		{"userType", "Standard"},
		{"userUiSkin", "Theme3"},
	} {
		b.WriteString(tag(m[0], m[1]))
	}
	return b.String()
}

// tag writes an element with a text, or a null.
func tag(name, text string) string {
	if text == "" {
		return "<" + name + ` xsi:nil="true"/>`
	}
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer never fails
	return "<" + name + ">" + b.String() + "</" + name + ">"
}

func soapAnswer(body string) *answer {
	return soapReply(http.StatusOK, `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" `+
		`xmlns="urn:partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>`+
		body+`</soapenv:Body></soapenv:Envelope>`)
}

// fault is the refusal of a call; without a code the envelope is to blame.
func fault(code, message string) *answer {
	faultCode, text, detail := "soapenv:Client", message, ""
	if code != "" {
		kind := "ApiFault"
		if code == "INVALID_LOGIN" {
			kind = "LoginFault"
		}
		faultCode, text = "sf:"+code, code+": "+message
		detail = fmt.Sprintf(`<detail><sf:%s xsi:type="sf:%s">%s%s</sf:%s></detail>`, kind, kind,
			tag("sf:exceptionCode", code),
			tag("sf:exceptionMessage", message), kind)
	}
	return soapReply(http.StatusInternalServerError, `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" `+
		`xmlns:sf="urn:fault.partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>`+
		tag("faultcode", faultCode)+tag("faultstring", text)+detail+`</soapenv:Fault></soapenv:Body></soapenv:Envelope>`)
}

func soapReply(status int, envelope string) *answer {
	a := raw(status, []byte(`<?xml version="1.0" encoding="UTF-8"?>`+envelope))
	a.header.Set("Content-Type", "text/xml;charset=UTF-8")
	return a
}
