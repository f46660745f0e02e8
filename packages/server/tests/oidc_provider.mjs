// A certified OpenID Connect provider for tests, run by node: `oidc_provider.py` says how.
//
// Whoever signs in with a name that `accounts` lists is that account; any password will do. What it
// is to be comes as JSON in the environment: port, jwks, client, accounts, and home, where it is
// installed.

import { pathToFileURL } from "node:url";

const wanted = JSON.parse(process.env.OIDC_PROVIDER);
const library = `${wanted.home}/node_modules/oidc-provider/lib/index.js`;
const { default: Provider } = await import(pathToFileURL(library).href);

const provider = new Provider(`http://127.0.0.1:${wanted.port}`, {
  clients: [wanted.client],
  jwks: wanted.jwks,
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"], profile: ["name"] },
  scopes: ["openid", "email", "profile", "groups"],
  pkce: { required: () => true },
  cookies: { keys: ["for tests only"] },
  features: { devInteractions: { enabled: true } },
  // As the specification has it, claims beyond `sub` are at the userinfo endpoint.
  conformIdTokenClaims: wanted.conform,
  findAccount: (_ctx, id) => {
    const claims = wanted.accounts[id];
    return claims && { accountId: id, claims: () => ({ sub: id, ...claims }) };
  },
});
provider.listen(wanted.port, "127.0.0.1");
