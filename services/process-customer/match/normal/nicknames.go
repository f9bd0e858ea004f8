package normal

import "strings"

// nicknames maps short forms to full given names.
var nicknames = readNicknames(nicknameList)

func readNicknames(list string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(list) {
		full, short, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		for s := range strings.FieldsSeq(short) {
			m[s] = full
		}
	}
	// A name that is a full name of its own stays one, and a short form never stands for a short form.
	for _, full := range m {
		delete(m, full)
	}
	return m
}

const nicknameList = `
abigail: abby abbie gail
abraham: abe bram
adalbert: bert
adelheid: heidi
albert: al albie
alejandro: alex
alessandro: sandro
alexander: alex alec sascha sasha xander lex
alexandra: sandra alexa lexi
alfred: fred alf fredy
alice: ali
amanda: mandy
andreas: andi andy
andrew: andy drew
angela: angie
anna: annie anni anneke
anthony: tony
antonio: toni
arthur: art
barbara: barb babs baerbel barbie
bartholomew: bart
beatrice: bea trixie
benedikt: bene
benjamin: ben benny benji
bernhard: berni bernd
bernard: bernie
bradley: brad
brigitte: gitte biggi
caroline: caro carrie
cassandra: cassie
catherine: cathy cat kate katie kathy
charles: charlie chuck chas
charlotte: lottie lotte
christian: chris
christine: chrissy tina
christopher: kit topher
christoph: stoffel
claudia: claudi
clifford: cliff
cornelia: conny nele
cornelius: cor niels
curtis: curt
cynthia: cindy
daniel: dan danny dani
david: dave davey
deborah: deb debbie debby
dennis: denny
dieter: didi
dolores: lola
dominic: dom nic
donald: donny
dorothea: dorle thea
dorothy: dot dottie dolly
douglas: doug
eberhard: ebi
eduard: edi
edward: ed eddie eddy ned ted teddy
eleanor: ellie nell nora
elisabeth: elise else lisbeth sissi liesel lisl
elizabeth: eliza liz lizzie libby beth betty betsy bess
emanuel: manu manny
emily: em emmy
eric: rick
ernst: ernie
eugene: gene
eva: evi
felicity: fliss
ferdinand: ferdi
florian: flo
francesco: franco cesco
francis: frank
francisco: paco pancho
franz: franzl
franziska: franzi
frederick: freddie freddy
friedrich: fritz friedel
gabriel: gabe
gabriele: gabi gaby
georg: schorsch
geoffrey: geoff
george: georgie
gerald: gerry jerry
gerhard: gerd
gertrud: trude trudi
giovanni: gianni nanni
giuseppe: beppe peppe pino
gregory: greg
guenther: guenni
guillermo: memo
gustav: gus
hannelore: hanne lore
hans: hansi
harold: hal
heinrich: heiner heini heinz
helen: nellie
helena: lena
helmut: heli
henrietta: hetty
henry: hank harry
herbert: herb herbie
hieronymus: jerome
hubert: hubi
ignacio: nacho
ingeborg: inge
irene: reni
isabella: bella izzy
jacob: jake
jacqueline: jackie
jakob: jake
james: jim jimmy jamie jem
janet: jan
jeffrey: jeff
jennifer: jen jenny jenni
jeremy: jem
jessica: jess jessie
joachim: achim jochen
joanna: jo joanne
johann: hannes
johannes: joh
john: johnny jack jock
jonathan: jon jonny
jose: pepe
josef: sepp beppo
joseph: joe joey jos
josephine: josie fina
joshua: josh
juergen: juergi
judith: judy
julia: julie
justin: jus
karl: kalle
karoline: line
katharina: kathi kathrin katja kaethe
katherine: kath kit kitty katy
kenneth: ken kenny
kimberly: kim
klaus: klausi
konrad: conny kurt
konstantin: konni
laura: laurie
lawrence: larry laurence lars
leonard: len lenny leo
lillian: lil lily
ludwig: lutz wiggerl
luigi: gigi
magdalena: magda leni
manfred: manni fredl
manuel: manolo
margaret: maggie meg megan peggy marge margie daisy greta
margarete: grete gretel gretchen
maria: mia mizzi marie
marianne: jannie
martha: marty
martin: marti
martina: tini
mary: molly polly mae
matthew: matt matty
matthias: matze hias
maureen: mo
maximilian: max maxi
melissa: mel missy
michael: mike mick mickey mikey michi michel
miguel: migue
mildred: millie
mitchell: mitch
mohammed: mohammad muhammad mohamed mo
monika: moni
nancy: nan
nathaniel: nathan nate nat
nicholas: nick nicky nico
nicola: nicki nikki
nikolaus: niko nikolas klaas
norbert: nobbi
oliver: ollie oli
pamela: pam
patricia: pat patty tricia trish
patrick: paddy
pedro: perico
penelope: penny
peter: pete pit
petra: petzi
philip: phil pip
philipp: lipp
priscilla: cilla
rachel: rae
raimund: mundl
raymond: ray
rebecca: becky becca
reinhard: reini
reinhold: holdi
renate: nate
richard: dick rich richie ricky
robert: bob bobby rob robbie robby bert
roberto: berto
roderick: rod
roland: rolli
ronald: ron ronnie
rosemary: rosie
rudolf: rudi rolf
russell: russ
salvatore: toto turi
samantha: sam
samuel: sammy
sandra: sandy
sarah: sally sadie
sebastian: basti seb bastian
siegfried: siggi sigi
sigrid: siri
simon: si
sophia: sophie
stanley: stan
stefan: steff
stefanie: steffi
stephanie: steph stevie
stephen: steve steven
stuart: stu
sultan: sul
susan: sue susie suzie
susanne: susi sanne
sylvia: silvi
tamara: tammy
teresa: terry tess tessa
terence: terry
theodor: theo
theodore: teddie
theresia: resi
thomas: tom tommy thom
timothy: tim timmy
tobias: tobi
ulrich: uli ulli
ursula: uschi ulla
valentin: vali
valerie: val
veronica: ronnie vera
veronika: vroni
victor: vic
victoria: vicky tori
vincent: vince vinny
vincenzo: enzo
virginia: ginny ginger
walter: walt wally
wendelin: wendel
werner: werni
wilfried: willi
wilhelm: willi willy wim
william: bill billy will willie liam
winifred: winnie
wolfgang: wolf wolfi
yvonne: vonnie
zachary: zach zack zac
`
