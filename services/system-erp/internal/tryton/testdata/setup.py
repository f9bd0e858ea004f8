# Makes a small company in a fresh Tryton database, the way its administrator would: currency, chart of accounts, fiscal year,
# sequences, two products, a user for the integration. Run it once, after `trytond-admin --all -u sale …`:
#   python3 setup.py CONFIG DATABASE USER PASSWORD
import datetime
import sys
from decimal import Decimal

from trytond.config import config

config.update_etc(sys.argv[1])

from trytond.pool import Pool  # noqa: E402
from trytond.transaction import Transaction  # noqa: E402

database, login, password = sys.argv[2:5]
Pool.start()
pool = Pool(database)
pool.init()


def accounts(company):
    """The minimal chart that comes with the module account."""
    data = pool.get('ir.model.data')
    template = pool.get('account.account.template')(data.get_id('account', 'account_template_root_en'))
    wizard = pool.get('account.create_chart', type='wizard')
    session, _, _ = wizard.create()
    chart = wizard(session)
    chart.account.account_template = template
    chart.account.company = company
    chart.transition_create_account()
    account = pool.get('account.account')
    found = {}
    for kind in ('receivable', 'payable', 'revenue', 'expense'):
        found[kind], = account.search([('type.' + kind, '=', True), ('company', '=', company.id)], limit=1)
    chart.properties.company = company
    chart.properties.account_receivable = found['receivable']
    chart.properties.account_payable = found['payable']
    if hasattr(chart.properties, 'category_account_revenue'):
        chart.properties.category_account_revenue = found['revenue']
        chart.properties.category_account_expense = found['expense']
    chart.transition_create_properties()
    return found


def fiscal_years(company):
    """This year and the next, so that a test at the end of December has one."""
    sequence, sequence_type = pool.get('ir.sequence'), pool.get('ir.sequence.type')
    strict = pool.get('ir.sequence.strict')
    data = pool.get('ir.model.data')
    year_model = pool.get('account.fiscalyear')
    invoice_sequence = pool.get('account.fiscalyear.invoice_sequence')
    for year in (datetime.date.today().year, datetime.date.today().year + 1):
        moves = sequence(name=str(year), company=company,
            sequence_type=sequence_type(data.get_id('account', 'sequence_type_account_move')))
        moves.save()
        invoices = strict(name=str(year), company=company,
            sequence_type=sequence_type(data.get_id('account_invoice', 'sequence_type_account_invoice')))
        invoices.save()
        fiscal = year_model(name=str(year), company=company, post_move_sequence=moves,
            start_date=datetime.date(year, 1, 1), end_date=datetime.date(year, 12, 31))
        fiscal.invoice_sequences = [invoice_sequence(company=company, out_invoice_sequence=invoices, in_invoice_sequence=invoices,
            out_credit_note_sequence=invoices, in_credit_note_sequence=invoices)]
        fiscal.save()
        year_model.create_period([fiscal])


def products(company, found):
    uom, = pool.get('product.uom').search([('symbol', '=', 'u')], limit=1)
    category = pool.get('product.category')(name='Goods', accounting=True, account_revenue=found['revenue'],
        account_expense=found['expense'])
    category.save()
    for code, price in (('SELF-1', '12.50'), ('SELF-2', '3.20')):
        template = pool.get('product.template')(name='Product ' + code, code=code, type='goods', default_uom=uom, sale_uom=uom,
            list_price=Decimal(price), cost_price_method='fixed', salable=True, account_category=category)
        template.products = [pool.get('product.product')()]
        template.save()


with Transaction().start(database, 1) as transaction:
    currency = pool.get('currency.currency')(name='Euro', symbol='€', code='EUR', numeric_code='978', rounding=Decimal('0.01'),
        digits=2)
    currency.save()
    pool.get('currency.currency.rate').create([{'currency': currency.id, 'rate': Decimal(1), 'date': datetime.date(2000, 1, 1)}])
    party = pool.get('party.party')(name='Selfsame Test Company', code='COMPANY')
    party.save()
    company = pool.get('company.company')(party=party, currency=currency)
    company.save()
    country = pool.get('country.country')
    germany = country(name='Germany', code='DE', code3='DEU', code_numeric='276')
    germany.save()
    country(name='Austria', code='AT', code3='AUT', code_numeric='040').save()
    pool.get('country.subdivision').create([
        {'country': germany.id, 'name': 'Nordrhein-Westfalen', 'code': 'DE-NW', 'type': 'state'},
        {'country': germany.id, 'name': 'Bayern', 'code': 'DE-BY', 'type': 'state'}])
    # Codes of parties are given by the integration: the database then refuses a second party of one code.
    configuration = pool.get('party.configuration')(1)
    configuration.party_sequence = None
    configuration.save()
    user = pool.get('res.user')
    groups = pool.get('res.group').search([])
    admin = user(1)
    admin.companies, admin.company = [company], company
    admin.save()
    integration = user(name='Selfsame', login=login, password=password, groups=groups, companies=[company], company=company)
    integration.save()
    transaction.commit()

with Transaction().start(database, 1, context={'company': company.id}) as transaction:
    company = pool.get('company.company')(company.id)
    found = accounts(company)
    fiscal_years(company)
    products(company, found)
    term = pool.get('account.invoice.payment_term')(name='30 days')
    term.lines = [pool.get('account.invoice.payment_term.line')(type='remainder',
        relativedeltas=[pool.get('account.invoice.payment_term.line.delta')(days=30)])]
    term.save()
    transaction.commit()
print('ready')
