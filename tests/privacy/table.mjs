// Which tests can't be run with everything pinned to this machine, and which may connect to others than
// providers while they are; for suite.mjs. A test that does neither needs no line here.

/** They ask a provider, which is a scripted server on 127.0.0.1: run as they are, and once more pinned. */
export const elsewhere = {
  'e2e/anthropic': 'a model that is not here is answered by an Anthropic elsewhere',
  'e2e/openai-batches': 'a user is pinned while lines of a batch leave the machine',
  'e2e/privacy': 'what is not pinned must reach the provider, or its pins would prove nothing',
  'e2e/provider-faults': 'every fault of every kind of provider',
  'e2e/providers': 'every kind of provider, asked for everything it can do',
  'e2e/routing': 'which of several providers answers, and who comes after it',
  'e2e/sources': 'asks every provider how it is and what it has',
};

/** What is connected to although everything is pinned; never a provider. */
export const others = {
  'e2e/cli-chat': '`hearth chat` talks to hubs that the test plays',
  'e2e/cli-terminal': '`hearth chat` talks to hubs that the test plays',
  'e2e/cli-pull': 'downloads models that a person names, from a scripted server on 127.0.0.1',
  'e2e/scheduling': 'a verb is sent to a hub that is not there',
  'e2e/ollama-models': 'downloads models that a person names, from a scripted server on 127.0.0.1',
  'e2e/pull': 'downloads models that a person names, from a scripted server on 127.0.0.1',
};

/** Unit tests that send packets to addresses where nobody is. */
export const packets = {
  'unit/httpc/test_httpc': 'an address of TEST-NET-1 and a name of nobody, to see how that fails',
};
