"""Everyday words that are no person's name on their own, though display names are made of them."""

from __future__ import annotations

_FUNCTION_WORDS = """
about above after again all also and another any are around ask back been before being below between both but buy call
can come could day days did does doing done down each easy even every few find first for from full get give going good
got had has have having her here hers him his how into its just keep know last let like little look made make many may
maybe might more most much must need never new next nice not nothing now off one only open other our out over own part
people place please put really right said same say see send she should show since some something soon start still such
take than thank thanks that the their them then there these they thing things think this those three through time
today together too try two under until upon use used user using very want was way week well went were what when where
which while who whole why will with within without word work working world would year years yes yet you your yours
"""
_WORDS_OF_MAILERS = """
account accounts address admin administrator alert alerts announce announcements auto bank best big bulk bulletin
business card care cash center central club com computer company contact corporation credit customer customers daily
data deal deals department desk developer developers digest direct discuss discussion dispatch domain dot download edu
email european exchange express fast finance financial forum free friend friends fund general global gmbh great group
groups health help home host inbox inc income info information insurance international internet investment investor
job jobs letter life line link linux list lists live loan loans local love ltd mail mailer mailing mails manager
market marketing markets master media member members message messages money monthly mortgage net network networks news
newsletter noreply offer offers office official online opt order orders org owner party pc penguin phone post
postmaster press prize product products program project promotion promotions quick rate rates recipient recipients
recipient reply report request research response reward rewards sale sales save savings search secure security server
service services shell shop site sites software special staff store subscriber subscribers subscription subscriptions
super support system systems talk team tech technical technology tip tips top travel undisclosed unix update updates
user users video videos virus visitor web weblog webmaster website weekly windows winner women men girl girls boy boys
man woman young www
"""
COMMON_WORDS = frozenset((_FUNCTION_WORDS + _WORDS_OF_MAILERS).split())
"""In lower case. A word missing here costs a pseudonym where a word could have stayed; one too many leaves a name."""
