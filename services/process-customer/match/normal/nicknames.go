package normal

import "strings"

// nicknames maps short forms to full given names, fullNames to all that they may stand for, in one spelling.
var (
	nicknames = readNicknames(nicknameList)
	fullNames = readFullNames(nicknameList + lessCommon)
)

func readFullNames(list string) map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(list) {
		full, short, _ := strings.Cut(strings.TrimSpace(line), ":")
		for s := range strings.FieldsSeq(short) {
			m[Spelling(s)] = append(m[Spelling(s)], Spelling(full))
		}
	}
	return m
}

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
adriana: ad
agnieszka: aga
aikaterini: kaiti
albert: al albie
alejandro: alex
aleksandra: olka
aleksey: alyosha lyosha
alessandro: sandro
alexander: alex alec sascha sasha xander lex aleksandr aleksander alexandre alexandros olek sanya
alexandra: sandra alexa lexi
alfonso: poncho
alfred: fred alf fredy
alice: ali
amanda: mandy
anastasia: nastya
anders: adde
andreas: andi andy
andrew: andy drew
andrey: andryusha
angela: angie
anna: annie anni anneke ania anka
anthony: tony
antonio: toni tono
antonius: ton toon
arthur: art
athanasios: thanasis
barbara: barb babs baerbel barbie basia
bartholomew: bart
beatrice: bea trixie
benedikt: bene
benjamin: ben benny benji
bernard: bernie
bernhard: berni bernd
birgitta: gittan
birthe: bitten
bradley: brad
brigitte: gitte biggi
caroline: caro carrie
cassandra: cassie
catarina: cati
catherine: cathy cat kate katie kathy
charalampos: babis
charles: charlie chuck chas
charlotte: lottie lotte
christer: krille
christian: chris
christine: chrissy tina
christoph: stoffel
christopher: kit topher
claudia: claudi
clifford: cliff
concepcion: concha conchita
cornelia: conny nele
cornelis: kees cees
cornelius: cor niels
curtis: curt
cynthia: cindy
daniel: dan danny dani
david: dave davey
deborah: deb debbie debby
dennis: denny
dieter: didi
dimitrios: dimitris mimis
dmitry: dima mitya
dolores: lola lolita
domenico: mimmo
dominic: dom nic
donald: donny
dorota: dorotka
dorothea: dorle thea
dorothy: dot dottie dolly
douglas: doug
eberhard: ebi
eduard: edi
eduardo: edu lalo
edward: ed eddie eddy ned ted teddy
efstathios: stathis
ekaterina: katya yekaterina
eleanor: ellie nell nora
eleftherios: lefteris
elisabeth: elise else lisbeth sissi liesel lisl els liesbeth bep
elizabeth: eliza liz lizzie libby beth betty betsy bess
elzbieta: ela
emanuel: manu manny
emily: em emmy
emmanouil: manolis
enrique: quique kike
eric: rick
ernst: ernie
erzsebet: erzsi bozsi
eugene: gene
eva: evi
evangelos: vangelis
evgeny: zhenya
ewa: ewka
fatma: fatos
felicity: fliss
ferdinand: ferdi
ferenc: feri
fernanda: nanda
fernando: nando
florian: flo
francesco: franco cesco
francis: frank
francisco: paco pancho chico xico curro
francoise: fanchon
frantisek: franta
franz: franzl
franziska: franzi
frederick: freddie freddy
fredrik: fredde
friedrich: fritz friedel
gabriel: gabe
gabriele: gabi gaby
galina: galya
geertruida: truus geertje
geoffrey: geoff
georg: schorsch
george: georgie
georgios: giorgos yorgos
gerald: gerry jerry
gerardus: gerard gert
gerhard: gerd
gerrit: ger
gertrud: trude trudi
giacomo: mino
giovanna: vanna
giovanni: gianni nanni
giuseppe: beppe peppe pino
gregory: greg
grzegorz: grzesiek grzes
guadalupe: lupe
guenther: guenni
guillermo: memo
gustav: gus gurra
hannelore: hanne lore
hans: hansi
harold: hal
heikki: hessu
heinrich: heiner heini heinz
helen: nellie
helena: lena elena
helmut: heli
hendrik: henk hendrikus
henrietta: hetty
henry: hank harry
herbert: herb herbie
hieronymus: jerome
hubert: hubi
ibrahim: ibo
ignacio: nacho
ingeborg: inge
ioannis: giannis yannis
irene: reni
irina: ira
isabel: isa
isabella: bella izzy
istvan: pista
ivan: vanya
jacob: jake
jacobus: jaap koos
jacqueline: jackie
jakob: jake
jakub: kuba
james: jim jimmy jamie jem
janet: jan
jeffrey: jeff
jennifer: jen jenny jenni
jeremy: jem
jerzy: jurek
jessica: jess jessie
jesus: chuy chus
jiri: jirka
joachim: achim jochen
joanna: jo joanne asia
joaquim: quim
johan: janne
johann: hannes
johannes: joh joop
john: johnny jack jock
jonathan: jon jonny
jose: pepe
josef: sepp beppo pepa
joseph: joe joey jos
josephine: josie fina
joshua: josh
jozef: jozek
jozsef: jozsi
judith: judy
juergen: juergi
juhani: jussi
julia: julie
justin: jus
karl: kalle
karoline: line
katarzyna: kasia kaska
katerina: katka
katharina: kathi kathrin katja kaethe
katherine: kath kit kitty katy
kenneth: ken kenny
kimberly: kim
kirsten: kis
klaus: klausi
konrad: conny kurt
konstantin: konni kostya
konstantinos: kostas costas
krzysztof: krzysiek krzys
ksenia: ksyusha
larisa: lara
laszlo: laci
laura: laurie
lawrence: larry laurence lars
leonard: len lenny leo
lillian: lil lily
lorenzo: renzo
ludwig: lutz wiggerl
luigi: gigi
lukasz: lukaszek
lyudmila: lyuda
maciej: maciek
magdalena: magda leni madzia
magnus: manga
maksim: maks
malgorzata: gosia malgosia
manfred: manni fredl
manuel: manolo manel
margaret: maggie meg megan peggy marge margie daisy greta
margareta: maggan
margarete: grete gretel gretchen
maria: mia mizzi marie ria mieke
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
mercedes: merche
michael: mike mick mickey mikey michi michel
michal: misiek
miguel: migue
mikael: micke
mikhail: misha
mikkel: mik
mildred: millie
mitchell: mitch
mohammed: mohammad muhammad mohamed mo
monika: moni
mustafa: musti
nancy: nan
natalya: natasha
nathaniel: nathan nate nat
nicholas: nick nicky nico
nicola: nicki nikki
nikolaos: nikos
nikolaus: niko nikolas klaas
nikolay: kolya
norbert: nobbi
olga: olya
oliver: ollie oli
pamela: pam
panagiotis: panos takis
patricia: pat patty tricia trish
patrick: paddy
pavel: pasha
pawel: pawelek
pedro: perico
penelope: penny
per: pelle
peter: pete pit
petra: petzi
petronella: nel
philip: phil pip
philipp: lipp
pieter: piet
piotr: piotrek
priscilla: cilla
pyotr: petya
rachel: rae
raffaele: lello
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
rosario: charo
rosemary: rosie
rudolf: rudi rolf
russell: russ
salvatore: toto turi
samantha: sam
samuel: sammy
sandor: sanyi
sandra: sandy
sarah: sally sadie
sebastian: basti seb bastian
sergey: seryozha
siegfried: siggi sigi
sigrid: siri
simon: si
slawomir: slawek
sophia: sophie
spyridon: spyros
stanislaw: staszek stasiek
stanley: stan
stefan: steff steffe
stefanie: steffi
stephanie: steph stevie
stephen: steve steven
stuart: stu
stylianos: stelios
sultan: sul
susan: sue susie suzie
susanne: susi sanne
svetlana: sveta
sylvia: silvi
tadeusz: tadek
tamara: tammy
tatyana: tanya
terence: terry
teresa: terry tess tessa
theodor: theo
theodore: teddie
theresia: resi
thomas: tom tommy thom
timothy: tim timmy
tobias: tobi
tomasz: tomek
ulrich: uli ulli
ursula: uschi ulla
vaclav: vasek
valentin: vali
valerie: val
vasileios: vasilis
vasiliki: vasso
veronica: ronnie vera
veronika: vroni
victor: vic
victoria: vicky tori
vincent: vince vinny
vincenzo: enzo
virginia: ginny ginger
vladimir: volodya vova
walter: walt wally
wendelin: wendel
werner: werni
wilfried: willi
wilhelm: willi willy wim willem
wilhelmina: mien willemijn
william: bill billy will willie liam
winifred: winnie
wladyslaw: wladek
wojciech: wojtek
wolfgang: wolf wolfi
yulia: yulya
yvonne: vonnie
zachary: zach zack zac
zbigniew: zbyszek
zdenek: zdenda
zeynep: zeyno
zofia: zosia
zoltan: zoli
`

// lessCommon are short forms that stand for another name more often, or are names of their own.
const lessCommon = `
aleksey: lesha
anna: anya ania
elena: lena lenka
jaroslav: jarda
josefa: pepa
maria: masha manya
rafael: rafa
richard: rick
sergey: serezha
wilhelmina: mina
`
