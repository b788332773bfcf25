// SPDX-License-Identifier: Apache-2.0
/*
 * Passkeys for forms: signs in, signs a grant, enrols. Everything is said in data attributes of the
 * <form>; a form without them is left alone, and without this script the server refuses politely.
 *
 *   data-passkey-options='{…}'   PublicKeyCredentialRequestOptionsJSON: when the form is submitted,
 *                                navigator.credentials.get() is called with it (challenge, rpId,
 *                                allowCredentials; userVerification is always "required").
 *   data-passkey-create='{…}'    PublicKeyCredentialCreationOptionsJSON: the same with
 *                                navigator.credentials.create(), to enrol.
 *   data-passkey-field="name"    The hidden input that gets the answer as JSON. Default: "assertion",
 *                                or "attestation" with data-passkey-create. It must be in the form.
 *   data-passkey-when="n=v"      Only when the form would send the field n with the value v (a radio
 *                                button, or the button that was pressed): refusing needs no passkey.
 *
 * What goes wrong is said in the element with role="alert" inside the form (made if there is none).
 * The form is then sent again as it was, by the same button.
 */
"use strict";

(() => {
  const decode = (text) => {
    const base64 = text.replace(/-/g, "+").replace(/_/g, "/");
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  };

  const encode = (buffer) => {
    let text = "";
    for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
    return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  const descriptors = (list) =>
    (list || []).map((item) => ({ ...item, id: decode(item.id) }));

  const requestOptions = (json) => ({
    ...json,
    challenge: decode(json.challenge),
    allowCredentials: descriptors(json.allowCredentials),
    userVerification: "required",
  });

  const creationOptions = (json) => ({
    ...json,
    challenge: decode(json.challenge),
    user: { ...json.user, id: decode(json.user.id) },
    excludeCredentials: descriptors(json.excludeCredentials),
  });

  const answerOf = (credential) => {
    const response = { clientDataJSON: encode(credential.response.clientDataJSON) };
    if (credential.response.attestationObject) {
      response.attestationObject = encode(credential.response.attestationObject);
      response.transports = credential.response.getTransports ? credential.response.getTransports() : [];
    } else {
      response.authenticatorData = encode(credential.response.authenticatorData);
      response.signature = encode(credential.response.signature);
      if (credential.response.userHandle) response.userHandle = encode(credential.response.userHandle);
    }
    return JSON.stringify({
      id: credential.id,
      rawId: encode(credential.rawId),
      type: credential.type,
      response,
      clientExtensionResults: {},
    });
  };

  const REASONS = {
    NotAllowedError: "The passkey was not used: you cancelled, it took too long, or this device has none of them.",
    InvalidStateError: "This device already has a passkey for this account.",
    SecurityError: "The browser allows no passkey at this address. Use the address the console is configured with.",
    NotSupportedError: "This device cannot make a passkey of the kind that is asked for.",
    ConstraintError: "This passkey cannot check that it is you. Set a PIN, a finger or a face for it.",
  };

  const say = (form, text) => {
    let place = form.querySelector("[role=alert]");
    if (!place) {
      place = document.createElement("p");
      place.setAttribute("role", "alert");
      form.prepend(place);
    }
    place.hidden = text === "";
    place.textContent = text;
  };

  const isMeant = (form, submitter) => {
    const when = form.dataset.passkeyWhen;
    if (!when) return true;
    const at = when.indexOf("=");
    const name = when.slice(0, at);
    const sent = new FormData(form).getAll(name);
    if (submitter && submitter.name === name) sent.push(submitter.value);
    return sent.includes(when.slice(at + 1));
  };

  const ask = async (form) => {
    if (!window.PublicKeyCredential || !navigator.credentials) {
      throw new DOMException("", "SecurityError");
    }
    const create = form.dataset.passkeyCreate;
    const credential = create
      ? await navigator.credentials.create({ publicKey: creationOptions(JSON.parse(create)) })
      : await navigator.credentials.get({ publicKey: requestOptions(JSON.parse(form.dataset.passkeyOptions)) });
    return answerOf(credential);
  };

  const onSubmit = async (event) => {
    const form = event.target;
    const submitter = event.submitter;
    const field = form.elements.namedItem(
      form.dataset.passkeyField || (form.dataset.passkeyCreate ? "attestation" : "assertion"),
    );
    if (!field || field.value || !isMeant(form, submitter)) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    form.setAttribute("aria-busy", "true");
    say(form, "");
    try {
      field.value = await ask(form);
      form.requestSubmit(submitter);
      // A page that the browser brings back from its memory must ask anew.
      setTimeout(() => { field.value = ""; }, 0);
    } catch (error) {
      say(form, REASONS[error.name] || "The passkey could not be used. Try again.");
    } finally {
      form.removeAttribute("aria-busy");
    }
  };

  for (const form of document.querySelectorAll("form[data-passkey-options], form[data-passkey-create]")) {
    form.addEventListener("submit", onSubmit);
  }
})();
