"""Taking personal data out of records: typed column policies, recognisers, keyed pseudonyms."""
