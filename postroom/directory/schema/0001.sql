-- Who the senders are. `postroom accounts` writes these tables; whatever else does keeps addresses as postroom compares them (see
-- docs/accounts.md) and fingerprints as upper-case hex.

CREATE TABLE postroom_directory (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL,
    keys_version bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN postroom_directory.version IS 'of these tables: the number of the last migration';
COMMENT ON COLUMN postroom_directory.keys_version IS 'grows with every change of postroom_key, so that the keys are read again';
INSERT INTO postroom_directory (version) VALUES (0);

CREATE TABLE postroom_account (
    id text PRIMARY KEY CHECK (id <> ''),
    name text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    require_strong boolean NOT NULL DEFAULT false
);

CREATE TABLE postroom_address (
    address text PRIMARY KEY CHECK (address LIKE '%_@_%'),
    account text NOT NULL REFERENCES postroom_account ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX ON postroom_address (account);
COMMENT ON COLUMN postroom_address.address IS 'a verified one, as compared: lower case, the domain in A-labels';

CREATE TABLE postroom_key (
    account text NOT NULL REFERENCES postroom_account ON UPDATE CASCADE ON DELETE CASCADE,
    fingerprint text NOT NULL CHECK (fingerprint ~ '^([0-9A-F]{40}|[0-9A-F]{64})$'),
    armored text,
    added timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, fingerprint)
);
COMMENT ON COLUMN postroom_key.armored IS 'the public key; null where it lies in the key folder';

-- By a trigger, so that changes by hand count, too. The counter is a row and no sequence: it must be seen when the keys are, not before.
CREATE FUNCTION postroom_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE postroom_directory SET keys_version = keys_version + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER postroom_keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON postroom_key
    FOR EACH STATEMENT EXECUTE FUNCTION postroom_keys_changed();
