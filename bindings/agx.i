/* What every language's binding is generated from. The typemaps that give it the language's types
 * are in LANGUAGE/typemaps.i; what people use is written by hand on top of what comes out here.
 *
 * Handles are numbers here, as they are in C but for their type. Texts end with a NUL and are UTF-8;
 * the layer above checks them. Options structs, callbacks and single events do not pass: agx_bind.h
 * has plain arguments, batches and a log to fetch from instead. */
%module agxnative

%{
#include "agx_bind.h"
%}

%include <stdint.i>

/* Each defines AGX_HANDLE(TYPE): TYPE* as a number, TYPE** as a place for one. */
#if defined(SWIGGO)
%include "go/typemaps.i"
#elif defined(SWIGJAVA)
%include "java/typemaps.i"
#elif defined(SWIGCSHARP)
%include "csharp/typemaps.i"
#endif

AGX_HANDLE(agx_client)
AGX_HANDLE(agx_session)
AGX_HANDLE(agx_listener)
AGX_HANDLE(agx_mux)
AGX_HANDLE(agx_query)
AGX_HANDLE(agx_run)
AGX_HANDLE(agx_messages)
AGX_HANDLE(agx_group)
AGX_HANDLE(agx_subscription)
AGX_HANDLE(agx_interceptor)
AGX_HANDLE(agx_intercepted)
AGX_HANDLE(agxb_batch)
AGX_HANDLE(agxb_log)

#define AGX_API

/* In agx_bind.h in another shape. */
%ignore agx_options;
%ignore agx_start_options;
%ignore agx_listen_options;
%ignore agx_history_options;
%ignore agx_history;
%ignore agx_run_options;
%ignore agx_new_event;
%ignore agx_open;
%ignore agx_start;
%ignore agx_listen;
%ignore agx_listen_next;
%ignore agx_listen_next_many;
%ignore agx_wait_for;
%ignore agx_add_many;
%ignore agx_addition;
%ignore agx_addition::event;
%ignore agx_add_each;
%ignore agx_history_read;
%ignore agx_history_replace;
%ignore agx_history_info;
%ignore agx_mux_next;
%ignore agx_mux_next_many;
%ignore agx_run_begin;
%ignore agx_listener_data;
%ignore agx_listener_set_data;
%rename("$ignore", regextarget=1) "^agx_event_";
%ignore agx_json_form;
%ignore agx_stream_options;
%ignore agx_stream_open;
%ignore agx_add_checked;
%ignore agx_subscribe_options;
%ignore agx_subscribe;
%ignore agx_intercept;
%ignore agx_intercepted_type;
%ignore agx_intercepted_origin;
%ignore agx_intercepted_body;
%ignore agx_group_options;
%ignore agx_group_open;
%ignore agx_group_source;
%ignore agx_group_read;
%ignore agx_group_ack;
%ignore agx_group_claim;
%ignore agx_group_autoclaim;
%ignore agx_pending;
%ignore agx_group_pending;
%ignore agx_pending_event;
%ignore agx_group_pending_events;
%ignore agx_group_info;
%ignore agx_group_list;
%ignore agx_consumer_info;
%ignore agx_group_consumers;
%ignore agx_health;
%ignore agx_group_health;
%ignore agx_group_process_options;
%ignore agx_group_process;
%ignore agx_dead_letter;
%ignore agx_dead_letter::event;
%ignore agx_group_dead_letters;
%ignore agx_group_replay;
%ignore agx_group_delete_dead_letters;

/* They would call back from C. Of some the layers above do the same with the calls that these are made
 * of; the others call the one function that a language gives to agxb_set_function. */
%ignore agx_log_function;
%ignore agx_subscriber;
%ignore agx_interceptor_function;
%ignore agx_group_handler;
%ignore agx_agent;
%ignore agx_run_execute;
%ignore agx_run_execute_with;
%ignore agx_messages_loader;
%ignore agx_messages_saver;
%ignore agx_messages_sink;
%ignore agx_messages_loaded;
%ignore agx_messages_open_custom;

%ignore agxb_function;
#if !defined(SWIGCSHARP)
%ignore agxb_set_function;
#endif

/* Initialisers, which are C. */
%rename("$ignore", regextarget=1) "^AGX_.*_INIT$";
%ignore AGX_ANY;

%include "agx.h"
%include "agx_bind.h"
