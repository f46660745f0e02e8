// A client for web pages. It calls the server that it was loaded from.
//
//   Algorithmia.client("KEY").algo("demo/Hello").pipe("HAL 9000").then(function (output) {
//     if (output.error) { console.error(output.error.message); } else { console.log(output.result); }
//   });
//
// The key needs allow_web_algo; everybody who opens the page can read it, so give it a referer_host
// and the fewest algorithms.
(function (root) {
  "use strict";

  var UNAVAILABLE = [502, 503, 504];

  function ownOrigin() {
    var script = typeof document !== "undefined" && document.currentScript;
    return script && script.src ? new URL(script.src).origin : "";
  }

  var home = ownOrigin();

  function failure(message) {
    return { error: { message: message } };
  }

  function post(client, name, json) {
    var url = client.api_address + "/v1/web/algo/" + name;
    return fetch(url, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json, text/javascript",
        Authorization: "Simple " + client.api_key,
      },
      body: json,
    }).then(
      function (response) {
        if (UNAVAILABLE.indexOf(response.status) >= 0) {
          return failure("API connection error: status " + response.status);
        }
        return response.json().catch(function () {
          return failure("The answer is no JSON: status " + response.status);
        });
      },
      function (error) {
        return failure("API connection error: " + error.message);
      }
    );
  }

  // What a call will answer. Its `then` is given `{result, metadata}` or `{error}`; it never fails.
  function Pending(answer) {
    this.answer = answer;
  }

  Pending.prototype.then = function (onAnswer, onFailure) {
    return this.answer.then(onAnswer, onFailure);
  };

  function Algorithm(client, name) {
    this.client = client;
    this.algo_path = String(name).replace(/^algo:\/\//, "").replace(/^\/+/, "");
  }

  Algorithm.prototype.pipe = function (input) {
    return this.pipeJson(JSON.stringify(input === undefined ? null : input));
  };

  Algorithm.prototype.pipeJson = function (json) {
    if (typeof json !== "string") {
      throw new TypeError("pipeJson takes a string that holds JSON");
    }
    return new Pending(post(this.client, this.algo_path, json));
  };

  function Client(key, address) {
    this.api_key = key;
    this.api_address = (address || Algorithmia.apiAddress || home).replace(/\/+$/, "");
  }

  Client.prototype.algo = function (name) {
    return new Algorithm(this, name);
  };

  var Algorithmia = {
    apiAddress: "",

    client: function (key, address) {
      return new Client(key, address);
    },

    // The older spelling: callback(error, result).
    query: function (name, key, input, callback) {
      return Algorithmia.queryJson(name, key, JSON.stringify(input), callback);
    },

    queryJson: function (name, key, json, callback) {
      return new Client(key).algo(name).pipeJson(json).then(function (output) {
        if (output.error) {
          callback(output.error.message || output.error, null);
        } else {
          callback(null, output.result);
        }
      });
    },
  };

  root.Algorithmia = Algorithmia;
  if (typeof module === "object" && module.exports) {
    module.exports = Algorithmia;
  }
})(typeof window !== "undefined" ? window : globalThis);
